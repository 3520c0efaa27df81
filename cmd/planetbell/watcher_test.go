package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/sim"
)

// What a reader sees of a call, in the order of the events, with the times of the call.
func TestWatcher(t *testing.T) {
	var b bytes.Buffer
	w := watcher{out: printer{w: &b}}
	tell := func(after time.Duration, e sim.Event) {
		e.At = noon.Add(after)
		w.event(e)
	}
	call := func(source string, kind sim.EventKind, latency time.Duration, text string) sim.Event {
		return sim.Event{Source: source, Kind: kind, Latency: latency, Text: text, SessionID: sid}
	}
	const ms = time.Millisecond
	tell(-ms, sim.Event{Source: "bob's iPhone", Kind: sim.EventRegistered, Text: "registered as IOS"})
	tell(0, call("cloud", sim.EventPlaced, 0, "alice calls bob (answered)"))
	tell(1234*time.Microsecond, call("cloud", sim.EventCallback, 1150*time.Microsecond, "notify was answered 200"))
	tell(2*ms, sim.Event{Source: "apns-production", Kind: sim.EventPush, Text: "took a push for bob's iPhone"})
	tell(3*ms, call("cloud", sim.EventVerified, 3*ms, "bob's iPhone rings"))
	tell(3*ms, call("bob's iPhone", sim.EventReceived, 3*ms, "got a call by apns"))
	tell(4*ms, call("bob's deaf phone", sim.EventReceived, 0, "got a call by fcm"))
	tell(1002*ms, call("cloud", sim.EventConnected, 1002*ms, "bob's iPhone answers"))
	tell(12*time.Second, call("cloud", sim.EventEnded, 12*time.Second, "the call is over: NORMAL"))
	tell(12*time.Second+ms, call("cloud", sim.EventCallback, ms, "call-event was answered 200"))
	tell(12*time.Second+2*ms, call("bob's iPhone", sim.EventEnded, 0, "ended with 1001 NORMAL"))
	w.apart.Store(true)
	tell(20*time.Second, call("cloud", sim.EventPlaced, 0, "alice calls bob (busy)"))
	want := `             bob's iPhone       registered as IOS
     0.0 ms  cloud              alice calls bob (answered)
     1.2 ms  cloud              notify was answered 200 in 1.1 ms
             apns-production    took a push for bob's iPhone
     3.0 ms  bob's iPhone       rings: got a call by apns
     4.0 ms  bob's deaf phone   got a call by fcm
    1.002 s  cloud              bob's iPhone answers
   12.000 s  cloud              the call is over: NORMAL
   12.001 s  cloud              call-event was answered 200 in 1.0 ms
             bob's iPhone       ended with 1001 NORMAL

     0.0 ms  cloud              alice calls bob (busy)
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The lines to copy work as they are: the callee has a phone.
func TestSimSaysWhatToDo(t *testing.T) {
	for want, phones := range map[string][]sim.PhoneRequest{
		`/phones -d '{"kind":"ios","user":"bob"}'`:                nil,
		"room kick --config sim/planetbell.yaml lounge alice bob": nil,
		`"to":"erin","plan":"answered"`:                           {{UserID: "erin"}},
	} {
		var b bytes.Buffer
		(&simulator{}).whatToDo(printer{w: &b}, "http://127.0.0.1:8082", "sim/planetbell.yaml", phones)
		if !bytes.Contains(b.Bytes(), []byte(want)) {
			t.Errorf("%s is not in\n%s", want, &b)
		}
	}
}
