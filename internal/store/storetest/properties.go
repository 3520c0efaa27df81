package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/planet"
)

var propertyTests = map[string]func(*testing.T, Store){
	"a delivery's states":   deliveryStates,
	"one device to a token": tokenOwners,
}

// modelled is one call with one delivery, as the contract says it must be.
type modelled struct {
	call     bell.Call
	delivery bell.Delivery
	attempts int
	over     bool // the Call Event came
	secret   bool // cc_param is still kept
	receipt  bell.Receipt
}

// deliveryStates drives random operations at random times against a model of the
// delivery's life: pending and sending move, accepted replaces what was not known to have
// reached the device, received replaces everything, and the rest stays for good.
func deliveryStates(t *testing.T, s Store) {
	bobs := newDevice("bob", 1)
	add(t, s, bobs)
	states := []bell.DeliveryState{
		bell.DeliveryPending, bell.DeliverySending, bell.DeliveryAccepted, bell.DeliveryReceived, bell.DeliveryFailed,
	}
	rapid.Check(t, func(r *rapid.T) {
		m := &modelled{call: newCall(), secret: true}
		m.delivery = newDelivery(m.call, bobs)
		must(r, "BeginCall", second(s.BeginCall(t.Context(), m.call, []bell.Delivery{m.delivery}, nil)))
		now := noon
		r.Repeat(map[string]func(*rapid.T){
			"": func(r *rapid.T) { m.check(t, r, s) },
			"time passes": func(r *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 8000).Draw(r, "milliseconds")) * time.Millisecond)
			},
			"attempt":  func(r *rapid.T) { m.attempt(t, r, s, rapid.SampledFrom(states).Draw(r, "state"), now) },
			"receipt":  func(r *rapid.T) { m.receive(t, r, s, now) },
			"claim":    func(r *rapid.T) { m.claim(t, r, s, now, rapid.Bool().Draw(r, "take all")) },
			"expire":   func(r *rapid.T) { m.expire(t, r, s, now) },
			"end call": func(r *rapid.T) { m.end(t, r, s) },
			"notify again": func(r *rapid.T) {
				must(r, "BeginCall", second(s.BeginCall(t.Context(), m.call, []bell.Delivery{newDelivery(m.call, bobs)}, nil)))
			},
		})
		// The next run must not find this one's delivery. A store need not look back for long.
		must(r, "ExpireDeliveries", second(s.ExpireDeliveries(t.Context(), noon.Add(30*time.Minute))))
	})
}

func (m *modelled) attempt(t *testing.T, r *rapid.T, s Store, to bell.DeliveryState, now time.Time) {
	next := m.delivery
	next.State, next.Attempts, next.UpdatedAt = to, m.attempts+1, now
	next.Reason, next.LeaseUntil = string(to)+"-reason", now.Add(time.Second)
	if rapid.Bool().Draw(r, "by another") {
		next.LeaseOwner = "node-b"
	}
	has := to.Final() || next.LeaseOwner == m.delivery.LeaseOwner || m.delivery.LeaseOwner == ""
	a := bell.Attempt{DeliveryID: next.ID, Number: next.Attempts, StartedAt: now}
	must(r, "RecordAttempt", s.RecordAttempt(t.Context(), next, a))
	m.attempts++
	late := to == bell.DeliveryAccepted && m.delivery.State != bell.DeliveryReceived
	if m.delivery.State.Final() && !late || !m.delivery.State.Final() && !has {
		m.delivery.Attempts = next.Attempts
		return
	}
	m.delivery = next
}

func (m *modelled) receive(t *testing.T, r *rapid.T, s Store, now time.Time) {
	receipt := bell.Receipt{
		Environment: m.call.Environment, SessionID: m.call.SessionID, DeviceID: m.delivery.DeviceID,
		Channel: bell.FCM, ReceivedAt: now.Add(-time.Second), At: now, Priority: "normal", OriginalPriority: "high",
	}
	got, err := s.RecordReceipt(t.Context(), receipt)
	must(r, "RecordReceipt", err)
	if got.DeliveryID != m.delivery.ID || got.Repeated == (m.receipt == bell.Receipt{}) {
		r.Fatalf("RecordReceipt = %+v of a delivery that is %s", got, m.delivery.State)
	}
	if !got.Repeated {
		m.receipt = receipt
	}
	m.delivery.State = bell.DeliveryReceived
}

func (m *modelled) claim(t *testing.T, r *rapid.T, s Store, now time.Time, all bool) {
	c := delivery.Claim{Owner: "node-c", Now: now, LeaseUntil: now.Add(3 * time.Second), TakeAll: all, Limit: 10}
	rings, err := s.ClaimDeliveries(t.Context(), c)
	must(r, "ClaimDeliveries", err)
	free := !m.delivery.LeaseUntil.After(now) || (all && m.delivery.LeaseOwner != c.Owner)
	want := 0
	if !m.delivery.State.Final() && m.delivery.Deadline.After(now) && free {
		want = 1
		m.delivery.LeaseOwner, m.delivery.LeaseUntil, m.delivery.State = c.Owner, c.LeaseUntil, bell.DeliverySending
	}
	if len(rings) != want {
		r.Fatalf("%d rings, want %d, of a delivery that is %s", len(rings), want, m.delivery.State)
	}
	if want == 1 && (rings[0].Call.CCParam == m.call.CCParam) != m.secret {
		r.Fatalf("cc_param was kept: %t, want %t", !m.secret, m.secret)
	}
}

func (m *modelled) expire(t *testing.T, r *rapid.T, s Store, now time.Time) {
	n, err := s.ExpireDeliveries(t.Context(), now)
	must(r, "ExpireDeliveries", err)
	want := 0
	if !m.delivery.Deadline.After(now) {
		m.secret = false
		if !m.delivery.State.Final() {
			want, m.delivery.State = 1, bell.DeliveryExpired
		}
	}
	if n != want {
		r.Fatalf("%d expired, want %d", n, want)
	}
}

func (m *modelled) end(t *testing.T, r *rapid.T, s Store) {
	must(r, "EndCall", endCall(t, s, m.call))
	m.over, m.secret = true, false
	if !m.delivery.State.Final() {
		m.delivery.State = bell.DeliveryWithdrawn
	}
}

func endCall(t *testing.T, s Store, c bell.Call) error {
	e, entry := ended(c)
	return s.EndCall(t.Context(), e, entry)
}

func (m *modelled) check(t *testing.T, r *rapid.T, s Store) {
	got, err := s.Call(t.Context(), m.call.Environment, m.call.SessionID)
	must(r, "Call", err)
	if len(got.Deliveries) != 1 {
		r.Fatalf("%d deliveries, want 1", len(got.Deliveries))
	}
	is := got.Deliveries[0]
	if is.Delivery.State != m.delivery.State || is.Delivery.Attempts != m.delivery.Attempts || is.Delivery.Reason != m.delivery.Reason {
		r.Fatalf("delivery is %s (%s) after %d attempts, want %s (%s) after %d", is.Delivery.State, is.Delivery.Reason,
			is.Delivery.Attempts, m.delivery.State, m.delivery.Reason, m.delivery.Attempts)
	}
	if diff := cmp.Diff(m.receipt, is.Receipt); diff != "" {
		r.Fatalf("receipt (-want +got):\n%s", diff)
	}
	if len(is.Attempts) != m.attempts {
		r.Fatalf("%d attempts are kept, want %d", len(is.Attempts), m.attempts)
	}
	if (got.Call.State == bell.CallEnded) != m.over {
		r.Fatalf("the call is %s; its event came: %t", got.Call.State, m.over)
	}
}

// tokenOwners registers a few tokens over and over: whoever wrote a token last is its
// only device, and nobody else loses anything.
func tokenOwners(t *testing.T, s Store) {
	rapid.Check(t, func(r *rapid.T) {
		prefix := uuid.NewString()
		holder := map[planet.Secret]string{} // token to session
		session := map[string]planet.Secret{}
		for range rapid.IntRange(1, 12).Draw(r, "registrations") {
			n := rapid.IntRange(1, 4).Draw(r, "installation")
			token := planet.Secret(fmt.Sprintf("%s-token-%d", prefix, rapid.IntRange(1, 3).Draw(r, "token")))
			name := fmt.Sprintf("%s-session-%d", prefix, n)
			_, err := s.ChangeDevice(t.Context(), device.Key{SessionID: name}, func(device.Known) (bell.Device, error) {
				d := newDevice("bob", n)
				d.ID, d.SessionID = fmt.Sprintf("%s-device-%d", prefix, n), name
				d.PushToken = token
				return d, nil
			})
			must(r, "ChangeDevice", err)
			delete(holder, session[name])
			delete(session, holder[token])
			holder[token], session[name] = name, token
		}
		for n := 1; n <= 4; n++ {
			name := fmt.Sprintf("%s-session-%d", prefix, n)
			d, err := s.DeviceBySession(t.Context(), name)
			if want, kept := session[name]; kept != (err == nil) || (kept && d.PushToken != want) {
				r.Fatalf("installation %d is registered: %t, want %t", n, err == nil, kept)
			}
		}
	})
}

func must(r *rapid.T, what string, err error) {
	if err != nil {
		r.Fatalf("%s: %v", what, err)
	}
}

// second drops the first of two results.
func second[T any](_ T, err error) error { return err }
