package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
)

// Receive takes a device's word that it has a call: it records it, and stops what is
// still to be sent to that device for that call. A receipt may come late, after the end
// of the call, and more than once: a repeat changes nothing and succeeds. It fails with
// bell.NotFound when that call was never for that device, and with bell.Unavailable when
// the database does not take it; then the device should send it again. What it returns is as
// far as the record knows.
func (e *Engine) Receive(ctx context.Context, r bell.Receipt) (bell.Arrival, error) {
	got, err := e.Store.RecordReceipt(ctx, r)
	if err != nil {
		return bell.Arrival{}, fmt.Errorf("record the receipt of call %s from device %s: %w", r.SessionID, r.DeviceID, err)
	}
	e.settle(got.DeliveryID) // for a repeat too: the first may have come to another process
	arrival := bell.Arrival{Over: got.Over, Deadline: got.Deadline}
	if got.Repeated {
		return arrival, nil
	}
	e.Metrics.receipts.received(got, r)
	e.logReceipt(&r, &got)
	if e.Traces != nil {
		e.Traces.Receipt(&r, got.DeliveryID)
	}
	return arrival, nil
}

// HandedOut records that a device that acknowledges was handed its call by the mailbox
// for the first time. The delivery stays pending until its receipt, under the lease that
// lasts as long as the ring, so that the next process puts it into its mailbox again.
func (e *Engine) HandedOut(r bell.Ring, at time.Time) {
	e.record(&r, bell.DeliveryPending, e.polled(&r, at, "polled"))
}

// Streamed is HandedOut for a call that went over a stream.
func (e *Engine) Streamed(r bell.Ring, at time.Time) {
	e.record(&r, bell.DeliveryPending, e.polled(&r, at, "streamed"))
}

// polled makes the attempt of a call that was handed to a poll or stream, and counts it.
func (e *Engine) polled(r *bell.Ring, at time.Time, how string) bell.Attempt {
	r.Delivery.Attempts = max(1, r.Delivery.Attempts)
	a := bell.Attempt{
		DeliveryID: r.Delivery.ID, Number: r.Delivery.Attempts, StartedAt: at,
		Outcome: bell.Outcome{Verdict: bell.Accepted, Reason: how, Token: bell.TokenKeep},
	}
	rt, _, _ := e.routeTo(&r.Device)
	rt.metrics.attempted(a, notified(r.Call), e.trace(r, rt.key, a))
	e.logAttempt(r, rt.key, a)
	return a
}

// receiptMetrics measure by the server's clock: those of devices are not to be trusted.
type receiptMetrics struct {
	accepted *prometheus.HistogramVec
	call     *prometheus.HistogramVec
	lowered  prometheus.Counter
}

func newReceiptMetrics() receiptMetrics {
	return receiptMetrics{
		accepted: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "planetbell_accepted_to_received_seconds", Help: "Time from a provider's acceptance, or the device's poll, to the device's receipt.", Buckets: ringBuckets,
		}, []string{"channel"}),
		call: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "planetbell_call_to_received_seconds", Help: "Time from a Notify to the device's receipt.", Buckets: ringBuckets,
		}, []string{"channel"}),
		lowered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "planetbell_fcm_priority_lowered_total", Help: "Receipts of FCM messages that were sent with high priority and arrived with normal.",
		}),
	}
}

// expect makes the series of a channel, at 0.
func (m *receiptMetrics) expect(channel string) {
	m.accepted.WithLabelValues(channel)
	m.call.WithLabelValues(channel)
}

// received counts a first receipt. A push may arrive before its provider's answer: that is
// no time at all.
func (m *receiptMetrics) received(got Received, r bell.Receipt) {
	channel := string(got.Channel)
	if !got.AcceptedAt.IsZero() {
		m.accepted.WithLabelValues(channel).Observe(max(0, r.At.Sub(got.AcceptedAt).Seconds()))
	}
	if !got.NotifiedAt.IsZero() {
		m.call.WithLabelValues(channel).Observe(max(0, r.At.Sub(got.NotifiedAt).Seconds()))
	}
	if got.Channel == bell.FCM && r.OriginalPriority == "high" && r.Priority == "normal" {
		m.lowered.Inc()
	}
}
