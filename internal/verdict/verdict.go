// Package verdict answers why a phone rang or did not, in one sentence, from the record of a
// call alone. It looks at nothing but its [Input], so that the answer about a call of last
// week is as true as on that day.
//
// The rules are tables: callRules and deviceRules, in the order in which they are tried, and
// docs/verdicts.md, which is made of them. A device has the verdict of the first rule that
// matches; the call's is made of those and of what is known of the call itself.
package verdict

import (
	"encoding/json"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Code names a verdict. Codes are stable: programs may compare them.
type Code string

// Hop is the place on a call's way to the phone where it was decided.
type Hop string

// The hops, in the order of the way.
const (
	HopCaller   Hop = "caller"   // the caller's app, or the caller
	HopCloud    Hop = "cloud"    // Planet Cloud
	HopCallback Hop = "callback" // between Planet Cloud and this server
	HopServer   Hop = "server"   // this server: its settings, its load
	HopDatabase Hop = "database" // this server's database
	HopProvider Hop = "provider" // APNs, FCM, a web push service, or the credential for it
	HopNetwork  Hop = "network"  // between this server, the provider and the phone
	HopDevice   Hop = "device"   // the phone, or its registration
	HopApp      Hop = "app"      // the app on the phone
	HopCallee   Hop = "callee"   // the callee
)

// Hops are all hops, in the order of the way.
func Hops() []Hop {
	return []Hop{HopCaller, HopCloud, HopCallback, HopServer, HopDatabase, HopProvider, HopNetwork, HopDevice, HopApp, HopCallee}
}

// Text is one text in both languages.
type Text struct {
	English  string `json:"en"`
	Japanese string `json:"ja"`
}

// In returns the text in a language; English if there is no such language here.
func (t Text) In(l planet.Language) string {
	if l == planet.Japanese {
		return t.Japanese
	}
	return t.English
}

// Span is a length of time that is milliseconds in JSON; 0 means that it is not known.
type Span time.Duration

// MarshalJSON writes milliseconds, to the microsecond.
func (s Span) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(time.Duration(s).Microseconds()) / 1000)
}

// UnmarshalJSON reads milliseconds.
func (s *Span) UnmarshalJSON(data []byte) error {
	var ms float64
	err := json.Unmarshal(data, &ms)
	*s = Span(ms * float64(time.Millisecond))
	return err
}

// Input is a call as it is on record. The verdict reads no secret of it: cc_param and push
// tokens may be there, and are not looked at.
type Input struct {
	Call       bell.Call
	Deliveries []Delivery
	Journal    []bell.JournalEntry // the session's callbacks, oldest first
	Agent      bell.AgentStatus    // zero unless the call was asked for through the Server API
	Now        time.Time           // to tell what is late from what is under way
}

// Delivery is what was done about one device.
type Delivery struct {
	Delivery bell.Delivery
	Device   bell.Device // as it is now; zero but for ID when it is gone
	Attempts []bell.Attempt
	Receipt  bell.Receipt // zero when the device sent none
}

// Verdict is why a call's phones rang, or did not. It holds no secret.
type Verdict struct {
	Code     Code            `json:"code"`
	Rang     bool            `json:"rang"` // as far as can be known: some device has, or was given, the call in time
	Hop      Hop             `json:"hop"`
	Sentence Text            `json:"sentence"`
	Fix      Text            `json:"fix,omitzero"` // what can be done; empty where it is nothing
	Evidence []Evidence      `json:"evidence"`
	Devices  []DeviceVerdict `json:"devices"`
}

// Evidence is one fact of the record that the verdict rests on, oldest first.
type Evidence struct {
	At         time.Time `json:"at,omitzero"`
	What       Text      `json:"what"`
	DeliveryID string    `json:"delivery_id,omitempty"`
	DeviceID   string    `json:"device_id,omitempty"`
	Attempt    int       `json:"attempt,omitempty"` // its number, from 1
}

// DeviceVerdict is why one device rang, or did not.
type DeviceVerdict struct {
	DeviceID  string       `json:"device_id"`
	Name      string       `json:"name"` // for people: what its app calls itself, or how it is reached
	Channel   bell.Channel `json:"channel,omitempty"`
	Code      Code         `json:"code"`
	Rang      bool         `json:"rang"`
	Hop       Hop          `json:"hop"`
	Sentence  Text         `json:"sentence"`
	Fix       Text         `json:"fix,omitzero"`
	ToAccept  Span         `json:"to_accept_ms,omitzero"`  // from Notify until the provider, or the device's poll, took it
	ToReceipt Span         `json:"to_receipt_ms,omitzero"` // from Notify until the device said that it has it
}

// Rule is a row of the tables, as docs/verdicts.md shows it. Words in braces stand for what
// the record says.
type Rule struct {
	Code     Code
	Hop      Hop
	Rang     bool
	Sentence Text
	Needs    string // the evidence that it needs
	Fix      Text
}

// Of returns the verdict of a call. It always has a sentence, whatever the record holds.
func Of(in Input) Verdict {
	f := newFacts(&in)
	v := Verdict{Devices: make([]DeviceVerdict, 0, len(f.devices)), Evidence: f.evidence()}
	for i := range f.devices {
		f.devices[i].decide()
		v.Devices = append(v.Devices, f.devices[i].verdict)
	}
	rule := f.rule()
	if rule.Code == byDevice {
		d := f.leading()
		v.Code, v.Rang, v.Hop, v.Fix = d.Code, d.Rang, d.Hop, d.Fix
		v.Sentence = f.amongOthers(d)
		return v
	}
	v.Code, v.Rang, v.Hop = rule.Code, rule.Rang, rule.Hop
	v.Sentence, v.Fix = f.words.fill(rule.Sentence), f.words.fill(rule.Fix)
	return v
}

// Missing is the verdict of a session that nothing is on record of.
func Missing(id planet.SessionID) Verdict {
	w := words{}
	w.both("sid", clean(string(id)))
	return Verdict{
		Code: missingRule.Code, Hop: missingRule.Hop, Sentence: w.fill(missingRule.Sentence), Fix: w.fill(missingRule.Fix),
		Evidence: []Evidence{}, Devices: []DeviceVerdict{},
	}
}

// Rules returns every rule, in the order in which they are tried: those of calls, then those
// of devices.
func Rules() (calls, devices []Rule) {
	calls = append(calls, missingRule)
	for _, r := range callRules {
		if r.Code != byDevice {
			calls = append(calls, r.Rule)
		}
	}
	for _, r := range deviceRules {
		devices = append(devices, r.Rule)
	}
	return calls, devices
}
