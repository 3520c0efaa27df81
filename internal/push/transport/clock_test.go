package transport

import (
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestClock(t *testing.T) {
	c := NewClock("apns")
	sent := time.Date(2026, 11, 26, 12, 0, 0, 600e6, time.UTC)
	now := sent.Add(300 * time.Millisecond)
	answer := func(date string) {
		c.Answered(&http.Response{Header: http.Header{"Date": {date}}}, sent, now)
	}
	for _, test := range []struct {
		date string
		want float64
	}{
		{"Thu, 26 Nov 2026 12:00:00 GMT", 0},
		{"Thu, 26 Nov 2026 12:01:00 GMT", 59.1},
		{"Thu, 26 Nov 2026 11:59:00 GMT", -59.6},
		{"yesterday", -59.6}, // says nothing: what was known stays
		{"Thu, 26 Nov 2026 11:59:59 GMT", -0.6},
		{"Thu, 26 Nov 2026 12:00:00 GMT", 0},
	} {
		answer(test.date)
		if got := testutil.ToFloat64(c); got != test.want {
			t.Errorf("after %q: %v, want %v", test.date, got, test.want)
		}
	}
}
