package mailbox

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hold = 25 * time.Second

// desk is a mailbox that notes what it reports as taken.
type desk struct {
	*Mailbox
	registry *prometheus.Registry

	mu    sync.Mutex
	taken []string // delivery IDs
	out   []string // delivery IDs, as handed out for the first time
	slow  chan struct{}
}

func newDesk(c Config) *desk {
	d := &desk{registry: prometheus.NewRegistry()}
	c.Metrics = NewMetrics(d.registry)
	c.Taken = func(r bell.Ring, _ time.Time) {
		if d.slow != nil {
			<-d.slow
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.taken = append(d.taken, r.Delivery.ID)
	}
	c.HandedOut = func(r bell.Ring, _ time.Time) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.out = append(d.out, r.Delivery.ID)
	}
	d.Mailbox = New(c)
	return d
}

func (d *desk) reported() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.taken...)
}

func (d *desk) handedOut() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.out...)
}

func sid(call int) planet.SessionID { return planet.SessionID(fmt.Sprintf("call-%d", call)) }

// ring makes the ring of a call for a device; its delivery is named after both.
func ring(call int, device string, deadline time.Time) *bell.Ring {
	c := &bell.Call{
		Environment: planet.Evaluation, SessionID: sid(call), Label: "evaluation", Type: planet.AudioCall,
		Caller:  planet.UserRef{ServiceID: "svc", UserID: "alice"},
		Callee:  planet.UserRef{ServiceID: "svc", UserID: "bob"},
		CCParam: planet.CCParam(testlog.CCParam(call)), Deadline: deadline,
	}
	return &bell.Ring{
		Call: c, Device: bell.Device{ID: device, Channel: bell.LongPoll},
		Delivery: bell.Delivery{ID: fmt.Sprintf("%s/%d", device, call), DeviceID: device, SessionID: c.SessionID, Channel: bell.LongPoll, Deadline: deadline},
	}
}

// put sends a call that rings for 55 seconds, and fails unless it was deposited.
func (d *desk) put(t *testing.T, call int, device string) {
	t.Helper()
	r := ring(call, device, time.Now().Add(55*time.Second))
	if o := d.Send(t.Context(), r, delivery.Try{Number: 1}); o.Verdict != bell.Deposited || o.Reason != "mailbox" || o.Token != bell.TokenKeep {
		t.Fatalf("put call %d for %s: %+v", call, device, o)
	}
}

// polled is how a poll ended.
type polled struct {
	letter *bell.Letter
	err    error
	after  time.Duration
}

// sid is the call that the poll got, or "".
func (p polled) sid() planet.SessionID {
	if p.letter == nil {
		return ""
	}
	return p.letter.SessionID
}

// poll begins to wait in another goroutine.
func (d *desk) poll(ctx context.Context, device string, hold time.Duration) <-chan polled {
	return d.wait(ctx, bell.Poll{DeviceID: device, Hold: hold})
}

// ask is poll for a device that acknowledges.
func (d *desk) ask(t *testing.T, device string) <-chan polled {
	t.Helper()
	return d.wait(t.Context(), bell.Poll{DeviceID: device, Hold: hold, Acknowledges: true})
}

func (d *desk) wait(ctx context.Context, poll bell.Poll) <-chan polled {
	result := make(chan polled, 1)
	start := time.Now()
	go func() {
		letter, err := d.Wait(ctx, poll)
		result <- polled{letter, err, time.Since(start)}
	}()
	return result
}

// take polls and answers: the poll has to get the call.
func (d *desk) take(t *testing.T, device string, want planet.SessionID) {
	t.Helper()
	got := <-d.poll(t.Context(), device, hold)
	if got.sid() != want || got.err != nil {
		t.Fatalf("poll of %s got %q, error %v; want %q", device, got.sid(), got.err, want)
	}
	if got.letter != nil {
		got.letter.Done(true)
	}
}

// checkEmpty fails when anything of what went through is still in memory.
func (d *desk) checkEmpty(t *testing.T) {
	t.Helper()
	d.Mailbox.mu.Lock()
	defer d.Mailbox.mu.Unlock()
	if len(d.boxes) != 0 || len(d.calls) != 0 || len(d.hears) != 0 || d.streams != 0 || d.letters != 0 || d.waiting != 0 {
		t.Errorf("left behind: %d boxes, %d calls, %d letters, %d waiting, %d streams that hear of %d", len(d.boxes), len(d.calls), d.letters, d.waiting, d.streams, len(d.hears))
	}
}

// metric returns the sum of a metric's values whose labels have the given value.
func (d *desk) metric(t *testing.T, name, label string) (sum float64) {
	t.Helper()
	families, err := d.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label == "" || m.GetLabel()[0].GetValue() == label {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// pass lets the fake time of a synctest bubble pass.
func pass(d time.Duration) { <-time.After(d) }
