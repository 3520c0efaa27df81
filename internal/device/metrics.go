package device

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
)

// unseen is the reason for which devices go that make no contact.
const unseen = "unseen"

// reasons are the values of the label "reason"; whatever else a provider says is "other".
var reasons = map[string]bool{
	unseen: true, badToken: true, "Unregistered": true, "ExpiredToken": true, "DeviceTokenNotForTopic": true,
	"UNREGISTERED": true, "SENDER_ID_MISMATCH": true, "INVALID_ARGUMENT": true,
	"unknown_reason": true,
}

// Metrics are the registry's. Labels are bounded; none names a user or device.
type Metrics struct {
	forgets  *prometheus.CounterVec
	suspends *prometheus.CounterVec
	repairs  *prometheus.CounterVec
	alerts   *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them; r may be nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		forgets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_token_forgotten_total", Help: "Push tokens that were forgotten; reason is the provider's word, or unseen.",
		}, []string{"channel", "reason"}),
		suspends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_token_suspended_total", Help: "Suspensions of push tokens that may be dead.",
		}, []string{"channel", "reason"}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_apns_server_repaired_total", Help: "Devices whose APNs server was another than registered, by the one that took the push.",
		}, []string{"to"}),
		alerts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "planetbell_token_config_alerts_total", Help: "Refusals that were not held against the device, because the configuration may be wrong.",
		}, []string{"credential", "channel", "reason"}),
	}
	if r != nil {
		r.MustRegister(m.forgets, m.suspends, m.repairs, m.alerts)
	}
	return m
}

func (m *Metrics) forgotten(channel bell.Channel, reason string) {
	m.forgets.WithLabelValues(string(channel), label(reason)).Inc()
}

func (m *Metrics) suspended(channel bell.Channel, reason string) {
	m.suspends.WithLabelValues(string(channel), label(reason)).Inc()
}

func (m *Metrics) repaired(to bell.APNsServer) { m.repairs.WithLabelValues(string(to)).Inc() }

func (m *Metrics) alerted(credential string, channel bell.Channel, reason string) {
	m.alerts.WithLabelValues(credential, string(channel), label(reason)).Inc()
}

func label(reason string) string {
	if reasons[reason] {
		return reason
	}
	return "other"
}
