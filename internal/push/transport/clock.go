package transport

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Clock compares this machine's clock with those of a provider's servers: tokens are refused when
// they differ too much. It is safe for concurrent use.
type Clock struct{ skew prometheus.Gauge }

// NewClock makes the metric of a provider's clock, which its owner registers.
func NewClock(provider string) *Clock {
	return &Clock{prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "planetbell_provider_clock_skew_seconds",
		Help: "The provider's clock less ours, by its last answer; 0 while they agree within the second that its Date header has.",

		ConstLabels: prometheus.Labels{"provider": provider},
	})}
}

// Describe implements prometheus.Collector.
func (c *Clock) Describe(ch chan<- *prometheus.Desc) { c.skew.Describe(ch) }

// Collect implements prometheus.Collector.
func (c *Clock) Collect(ch chan<- prometheus.Metric) { c.skew.Collect(ch) }

// Answered takes the answer to a request that was begun at sent. One without a Date header (RFC
// 9110 section 6.6.1) says nothing.
func (c *Clock) Answered(response *http.Response, sent, now time.Time) {
	date, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return
	}
	// It was made at some time between sent and now, and cut to the second.
	switch {
	case date.After(now):
		c.skew.Set(date.Sub(now).Seconds())
	case date.Add(time.Second).Before(sent):
		c.skew.Set(date.Add(time.Second).Sub(sent).Seconds())
	default:
		c.skew.Set(0)
	}
}
