package main

import (
	"math"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
)

func TestLength(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                   "0 ms",
		300 * time.Microsecond:              "0.3 ms",
		9940 * time.Microsecond:             "9.9 ms",
		41 * time.Millisecond:               "41 ms",
		999 * time.Millisecond:              "999 ms",
		1500 * time.Millisecond:             "1.5 s",
		59999 * time.Millisecond:            "59.9 s",
		time.Minute:                         "1 min",
		65 * time.Second:                    "1 min 5 s",
		2*time.Hour + 3*time.Minute + 59999: "2 h 3 min",
		math.MinInt64:                       "-2562047 h 47 min",
		-2 * time.Second:                    "-2 s",
	} {
		if got := length(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestMoment(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                 "just now (2026-09-01 12:00:00 UTC)",
		-59 * time.Second: "59 s ago (2026-09-01 11:59:01 UTC)",
		-47 * time.Hour:   "47 h ago (2026-08-30 13:00:00 UTC)",
		-49 * time.Hour:   "2 days ago (2026-08-30 11:00:00 UTC)",
		5 * time.Minute:   "in 5 min (2026-09-01 12:05:00 UTC)",
	} {
		if got := moment(noon, noon.Add(d)); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := moment(noon, time.Time{}); got != "-" {
		t.Errorf("no time: %q", got)
	}
	seoul := time.FixedZone("KST", 9*3600)
	if got, want := moment(noon.In(seoul), noon), "just now (2026-09-01 21:00:00 KST)"; got != want {
		t.Errorf("another time zone: %q, want %q", got, want)
	}
}

func TestEveryStateHasWords(t *testing.T) {
	for _, state := range []bell.DeliveryState{
		bell.DeliveryPending, bell.DeliverySending, bell.DeliveryAccepted, bell.DeliveryReceived,
		bell.DeliveryFailed, bell.DeliveryExpired, bell.DeliveryWithdrawn,
	} {
		if stateWords(&console.Delivery{State: state}) == "" {
			t.Errorf("%s: no words", state)
		}
	}
	for _, verdict := range []bell.Verdict{
		bell.Deposited, bell.RetryNow, bell.RetryBackoff, bell.RetryConnect, bell.RetryThrottled,
		bell.RetryCredential, bell.RetryOtherHost, bell.Rejected,
	} {
		if verdictWords[verdict] == "" {
			t.Errorf("%s: no words", verdict)
		}
	}
}

func TestCleanKeepsWordsAndNoControls(t *testing.T) {
	if got, want := clean("Grüße 안녕 \x1b[2J\r\n\t\u202e\u0085!"), "Grüße 안녕 ?[2J?????!"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
