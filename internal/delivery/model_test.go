package delivery_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// A story is a list of acts: a Notify, its repeat, its Call Event, a kill or a stop of the
// server, a change of the provider's weather or of a device, or the passing of time.
type actKind string

const (
	actNotify     actKind = "notify"
	actEnd        actKind = "end"
	actKill       actKind = "kill"
	actStop       actKind = "stop"
	actWeather    actKind = "weather"
	actRegister   actKind = "register"
	actUnregister actKind = "unregister"
	actPass       actKind = "pass"
)

type modelAct struct {
	kind    actKind
	call    int
	device  int
	weather string
	pass    time.Duration
}

func (a modelAct) String() string {
	return fmt.Sprintf("%s(call %d, device %d, %s, %v)", a.kind, a.call, a.device, a.weather, a.pass)
}

// The story is mostly of calls, and some of it of trouble.
var kinds = []actKind{
	actNotify, actNotify, actNotify, actEnd, actKill, actStop, actWeather, actWeather, actRegister, actUnregister, actPass, actPass, actPass,
}

var fair = []actKind{actNotify, actNotify, actEnd, actKill, actStop, actRegister, actPass, actPass}

const modelCalls, modelDevices = 4, 3

func modelStory() *rapid.Generator[[]modelAct] {
	names := []string{"well", "well", "unwell", "cut off", "breaks off", "silent", "refuses"}
	spans := []time.Duration{0, time.Millisecond, 15 * time.Millisecond, 200 * time.Millisecond, 3 * time.Second, 20 * time.Second, time.Minute}
	act := func(kinds []actKind) *rapid.Generator[modelAct] {
		return rapid.Custom(func(t *rapid.T) modelAct {
			return modelAct{
				kind: rapid.SampledFrom(kinds).Draw(t, "kind"), call: rapid.IntRange(0, modelCalls-1).Draw(t, "call"),
				device: rapid.IntRange(0, modelDevices-1).Draw(t, "device"), weather: rapid.SampledFrom(names).Draw(t, "weather"),
				pass: rapid.SampledFrom(spans).Draw(t, "pass"),
			}
		})
	}
	// Half of the stories have fair weather: then every call must ring.
	return rapid.OneOf(rapid.SliceOfN(act(kinds), 1, 30), rapid.SliceOfN(act(fair), 1, 30))
}

// callModel is what must be true of one call, worked out from the story alone.
type callModel struct {
	accepted   time.Time // when its Notify was answered 200; zero: never
	ended      time.Time // when its Call Event was answered; zero: never
	deliveries map[string]bool
	crashes    int // kills while it rang: each may repeat what was under way
}

// Whatever happens in whatever order: a call that was accepted rings, or its record says
// why not; nothing is sent after its end or its deadline; no device is sent it twice, but
// for what a kill left open, and then under the same ID; and the record says what the
// provider saw.
func TestEveryInterleavingKeepsThePromises(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		story := modelStory().Draw(rt, "story")
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			m := play(w, story)
			w.provider.set("well")
			<-time.After(time.Minute) // every ring is over
			synctest.Wait()
			for n := range modelCalls {
				check(w, n, m[n])
				if fairWeather(story) {
					checkRang(w, n, m[n])
				}
			}
			w.close()
		})
		if t.Failed() {
			for _, a := range story {
				rt.Log(a)
			}
			rt.FailNow()
		}
	})
}

// play acts a story out and keeps what must follow from it.
func play(w *world, story []modelAct) map[int]*callModel {
	m := map[int]*callModel{}
	for n := range modelCalls {
		m[n] = &callModel{deliveries: map[string]bool{}}
	}
	tokens := 0
	for device := range modelDevices {
		tokens++
		w.register(device, tokens)
	}
	for _, a := range story {
		switch a.kind {
		case actNotify:
			notify(w, a.call, m[a.call])
		case actEnd:
			end(w, a.call, m[a.call])
		case actKill, actStop:
			w.restart(a.kind == actStop, min(a.pass, 5*time.Second))
			for _, c := range m {
				// A stop without patience breaks off what is under way, as a kill does.
				if (a.kind == actKill || a.pass < time.Second) && !c.accepted.IsZero() && c.ended.IsZero() {
					c.crashes++
				}
			}
		case actWeather:
			w.provider.set(a.weather)
		case actRegister:
			tokens++
			w.register(a.device, tokens)
		case actUnregister:
			w.unregister(a.device)
		case actPass:
			<-time.After(a.pass)
		}
	}
	return m
}

func notify(w *world, n int, m *callModel) {
	w.t.Helper()
	got, err := w.calls.Ring(w.t.Context(), project(w), planet.NotifyCallback{
		SessionID: session(n), Caller: planet.UserRef{ServiceID: "service", UserID: "alice"}, Callee: owner().User,
		Type: planet.AudioCall, CCParam: "param",
	})
	switch {
	case err != nil:
		w.t.Errorf("call %d was refused: %v", n, err)
	case !m.accepted.IsZero() || !m.ended.IsZero():
		if !got.Repeated {
			w.t.Errorf("call %d: a repeat rings %d devices", n, got.Devices)
		}
	default:
		m.accepted = time.Now()
		for _, d := range w.record(n).Deliveries {
			m.deliveries[d.Delivery.ID] = true
		}
		if len(m.deliveries) != got.Devices {
			w.t.Errorf("call %d: %d devices ring, %d deliveries are recorded", n, got.Devices, len(m.deliveries))
		}
	}
}

func end(w *world, n int, m *callModel) {
	w.t.Helper()
	err := w.calls.End(w.t.Context(), project(w), planet.CallEvent{
		SessionID: session(n), Caller: planet.UserRef{ServiceID: "service", UserID: "alice"}, Callee: owner().User,
	})
	if err != nil {
		w.t.Errorf("the end of call %d was refused: %v", n, err)
	}
	if m.ended.IsZero() {
		m.ended = time.Now()
	}
}

func project(w *world) *bell.Project {
	return &bell.Project{Name: "demo", Environment: planet.Evaluation, ServiceID: "service", EnvironmentLabel: "evaluation"}
}

// check compares a call's record with the model and with what the provider saw.
func check(w *world, n int, m *callModel) {
	w.t.Helper()
	record := w.record(n)
	if len(record.Deliveries) != len(m.deliveries) {
		w.t.Errorf("call %d: %d deliveries, want %d", n, len(record.Deliveries), len(m.deliveries))
	}
	if !m.ended.IsZero() && record.Call.State != bell.CallEnded {
		w.t.Errorf("call %d is %s, its event came", n, record.Call.State)
	}
	for _, r := range record.Deliveries {
		d := r.Delivery
		if !m.deliveries[d.ID] {
			w.t.Errorf("call %d: delivery %s is not of its Notify", n, d.ID)
		}
		if !d.State.Final() {
			w.t.Errorf("call %d: delivery %s is still %s a minute later", n, d.ID, d.State)
		}
		pushes := w.provider.pushesOf(d.ID)
		taken := 0
		for _, p := range pushes {
			if p.accepted {
				taken++
			}
			if !p.at.Before(d.Deadline) {
				w.t.Errorf("call %d was pushed %v after its deadline", n, p.at.Sub(d.Deadline))
			}
			if !m.ended.IsZero() && p.at.After(m.ended) {
				w.t.Errorf("call %d was pushed %v after its end", n, p.at.Sub(m.ended))
			}
		}
		if taken > 1+m.crashes {
			w.t.Errorf("call %d: a device was sent it %d times, with %d crashes", n, taken, m.crashes)
		}
		if d.State == bell.DeliveryAccepted && taken == 0 {
			w.t.Errorf("call %d is recorded as accepted, and no push was", n)
		}
		if d.State == bell.DeliveryExpired && !m.ended.IsZero() && m.ended.Before(d.Deadline) {
			w.t.Errorf("call %d is recorded as expired, and it ended before", n)
		}
		if d.State == bell.DeliveryWithdrawn && m.ended.IsZero() {
			w.t.Errorf("call %d is recorded as withdrawn, and never ended", n)
		}
		if d.State == bell.DeliveryExpired && m.crashes == 0 && taken > 0 {
			w.t.Errorf("call %d is recorded as expired, and %d pushes were accepted", n, taken)
		}
	}
}

// fairWeather reports whether nothing but kills and stops stood in a call's way.
func fairWeather(story []modelAct) bool {
	for _, a := range story {
		if a.kind == actUnregister || a.kind == actWeather && a.weather != "well" {
			return false
		}
	}
	return true
}

// checkRang: a call that rang for a few seconds rang every device.
func checkRang(w *world, n int, m *callModel) {
	w.t.Helper()
	if !m.ended.IsZero() && m.ended.Sub(m.accepted) < 3*time.Second {
		return
	}
	for _, r := range w.record(n).Deliveries {
		if r.Delivery.State != bell.DeliveryAccepted {
			w.t.Errorf("call %d: a delivery is %s (%s), and nothing stood in its way", n, r.Delivery.State, r.Delivery.Reason)
		}
	}
}
