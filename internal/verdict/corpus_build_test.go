package verdict

import (
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func ms(n int) time.Time { return noon.Add(time.Duration(n) * time.Millisecond) }

func number(n int) *int { return &n }

// change changes the record of a call.
type change func(*Input)

// a makes the record of a call: alice calls bob, who does not answer within 60 s.
func a(changes ...change) Input {
	in := Input{
		Now: noon.Add(time.Hour),
		Call: bell.Call{
			Environment: planet.Evaluation, SessionID: "sid-1", Project: "demo",
			Caller: planet.UserRef{ServiceID: "service", UserID: "alice"}, Callee: planet.UserRef{ServiceID: "service", UserID: "bob"},
			Type: planet.AudioCall, State: bell.CallEnded, NotifiedAt: noon, Deadline: ms(55_000),
		},
	}
	ended(1203, planet.OutcomeMissed, 60_000)(&in)
	for _, c := range changes {
		c(&in)
	}
	return in
}

// ended ends the call with a disconnect reason, when its Call Event came.
func ended(reason int, outcome planet.Outcome, after int) change {
	return func(in *Input) {
		c := &in.Call
		c.State, c.Outcome, c.EndedAt = bell.CallEnded, outcome, ms(after)
		c.Release = planet.Release{DisconnectReason: number(reason)}
		in.Journal = []bell.JournalEntry{{ReceivedAt: ms(after), Environment: c.Environment, Kind: kindCallEvent}}
	}
}

// failed ends the call with a reason that Planet Cloud gives at once.
func failed(reason, code int) change {
	return func(in *Input) {
		ended(reason, planet.OutcomeFailed, 500)(in)
		if code != 0 {
			in.Call.Release.Code = number(code)
		}
	}
}

// canceled lets the caller hang up.
func canceled(after int) change { return ended(1201, planet.OutcomeCanceled, after) }

// unnotified takes the Notify away.
func unnotified(in *Input) { in.Call.NotifiedAt, in.Call.Deadline = time.Time{}, time.Time{} }

// open takes the end away; now is then.
func open(state bell.CallState, now int) change {
	return func(in *Input) {
		c := &in.Call
		c.State, c.Outcome, c.Release, c.EndedAt = state, "", planet.Release{}, time.Time{}
		in.Journal, in.Now = nil, ms(now)
	}
}

func suppressed(s bell.Suppression) change {
	return func(in *Input) { in.Call.Suppressed = s }
}

// endedAt is when the call ended by Planet Cloud's clock.
func endedAt(n int) change { return func(in *Input) { in.Call.EndedAt = ms(n) } }

// withoutJournal is a record that is older than callbacks are kept.
func withoutJournal(in *Input) { in.Journal = nil }

// overtaken is a call whose Call Event was on record before its Notify.
func overtaken(in *Input) { in.Call.Circumstances.Overtaken = true }

// markedAt is when the newest delivery came to its end.
func markedAt(n int) change {
	return last(func(d *Delivery) { d.Delivery.UpdatedAt = ms(n) })
}

func fromMemory(in *Input) { in.Call.Circumstances.FromMemory = true }

// left leaves devices out.
func left(notes ...bell.DeviceNote) change {
	return func(in *Input) {
		in.Call.Circumstances.Devices = append(in.Call.Circumstances.Devices, notes...)
	}
}

func why(id string, why bell.NoteWhy, reason string) bell.DeviceNote {
	return bell.DeviceNote{DeviceID: id, AppType: "IOS", Channel: bell.APNsVoIP, Why: why, Reason: reason, Since: noon.Add(-time.Hour)}
}

// to is a delivery; its ID and that of its device are id.
func to(id string, channel bell.Channel, state bell.DeliveryState, reason string, attempts ...bell.Attempt) change {
	return func(in *Input) {
		in.Deliveries = append(in.Deliveries, Delivery{
			Delivery: bell.Delivery{
				ID: id, DeviceID: id, Channel: channel, State: state, Reason: reason, Attempts: len(attempts),
				Deadline: in.Call.Deadline, CreatedAt: noon, UpdatedAt: ms(55_500),
			},
			Device:   bell.Device{ID: id, AppType: map[bell.Channel]string{bell.APNsVoIP: "IOS", bell.FCM: "ANDROID", bell.LongPoll: "DESKTOPWIN"}[channel]},
			Attempts: attempts,
		})
	}
}

// last changes the newest delivery.
func last(f func(*Delivery)) change {
	return func(in *Input) { f(&in.Deliveries[len(in.Deliveries)-1]) }
}

func receipt(after int) change {
	return last(func(d *Delivery) { d.Receipt.At = ms(after) })
}

func acknowledges(d *Delivery) { d.Device.AcknowledgesSince = noon.Add(-24 * time.Hour) }

// try is an attempt.
func try(n, after int, v bell.Verdict, status int, reason string) bell.Attempt {
	token := bell.TokenKeep
	switch reason {
	case "BadDeviceToken", "SENDER_ID_MISMATCH", "DeviceTokenNotForTopic":
		token = bell.TokenCheck
	}
	return bell.Attempt{
		Number: n, StartedAt: ms(after), Took: 10 * time.Millisecond,
		Outcome: bell.Outcome{Verdict: v, Status: status, Reason: reason, Token: token},
	}
}

func took(n, after int) bell.Attempt { return try(n, after, bell.Accepted, 200, "") }

func polled(n, after int) bell.Attempt { return try(n, after, bell.Accepted, 0, "polled") }

func at(server bell.APNsServer, a bell.Attempt) bell.Attempt {
	a.Server = server
	return a
}

// refused is a delivery to an iPhone or an Android phone that one answer ended.
func refused(channel bell.Channel, status int, reason string) change {
	return to("d1", channel, bell.DeliveryFailed, reason, try(1, 2, bell.Rejected, status, reason))
}

// token makes the newest attempt one that speaks against the token.
func checked(d *Delivery) { d.Attempts[len(d.Attempts)-1].Outcome.Token = bell.TokenCheck }
