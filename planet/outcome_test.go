package planet

import (
	"net/url"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

type outcomeCase struct {
	name, query string
	want        Outcome
}

func checkOutcomes(t *testing.T, cases []outcomeCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e, err := ParseCallEvent(query(t, "sid="+callSID+"&"+c.query))
			if err != nil {
				t.Fatal(err)
			}
			if got := e.Outcome(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestOutcome(t *testing.T) {
	checkOutcomes(t, []outcomeCase{
		{"talked, by duration", "duration=30&terminate=16&disconnect_reason=1001", OutcomeCompleted},
		{"talked, by start time", "start_time=1582527420&duration=0", OutcomeCompleted},
		{"talked, then the network broke", "duration=3&disconnect_reason=1301&terminate=127", OutcomeCompleted},
		{"talked, whatever the numbers say", "duration=1&disconnect_reason=1203&terminate=18", OutcomeCompleted},

		{"canceled", "disconnect_reason=1201", OutcomeCanceled},
		{"canceled, old", "call_end_reason=1000", OutcomeCanceled},
		{"canceled, rel_code", "rel_code=2", OutcomeCanceled},
		{"canceled, terminate", "terminate=77", OutcomeCanceled},

		{"declined", "disconnect_reason=1002", OutcomeDeclined},
		{"declined, old", "call_end_reason=1003", OutcomeDeclined},
		{"declined, rel_code", "rel_code=3", OutcomeDeclined},
		{"declined, terminate", "terminate=21", OutcomeDeclined},

		{"busy", "disconnect_reason=1202", OutcomeBusy},
		{"busy, another call coming in", "disconnect_reason=1204", OutcomeBusy},
		{"busy, on another device", "disconnect_reason=1205", OutcomeBusy},
		{"busy, old", "call_end_reason=1001", OutcomeBusy},
		{"busy on another device, old", "call_end_reason=1024", OutcomeBusy},
		{"busy, rel_code", "rel_code=4", OutcomeBusy},
		{"busy, terminate", "terminate=17", OutcomeBusy},

		{"missed", "disconnect_reason=1203", OutcomeMissed},
		{"missed, old", "call_end_reason=1002", OutcomeMissed},
		{"missed, rel_code", "rel_code=5", OutcomeMissed},
		{"missed, terminate", "terminate=18", OutcomeMissed},
		{"missed, as seen in the field", "terminate=18&rel_code_str=NO_ANSWER&disconnect_reason=1203", OutcomeMissed},

		{"push failed", "disconnect_reason=1302", OutcomePushFailed},
		{"app server data failed", "disconnect_reason=1313", OutcomePushFailed},
		{"push failed, old", "call_end_reason=1020", OutcomePushFailed},
		{"push request failed, rel_code", "rel_code=203", OutcomePushFailed},
		{"push answer not understood, rel_code", "rel_code=231", OutcomePushFailed},

		{"failed", "disconnect_reason=1301", OutcomeFailed},
		{"failed by a cellular call, not declined", "disconnect_reason=1003", OutcomeFailed},
		{"failed, old", "call_end_reason=1010", OutcomeFailed},
		{"failed, rel_code", "rel_code=209", OutcomeFailed},
		{"failed, other terminate", "terminate=127", OutcomeFailed},
		{"16 without talk", "terminate=16&duration=0&start_time=0", OutcomeFailed},
		{"the docs' example: hung up without talk", docsCallEvent, OutcomeFailed},
		{"no numbers", "", OutcomeFailed},
	})
}

func TestOutcomePrecedence(t *testing.T) {
	checkOutcomes(t, []outcomeCase{
		{"the same number in two families", "disconnect_reason=1002&call_end_reason=1002", OutcomeDeclined},
		{"disconnect_reason first", "disconnect_reason=1203&call_end_reason=1000&rel_code=3&terminate=17", OutcomeMissed},
		{"then call_end_reason", "call_end_reason=1000&rel_code=3&terminate=17", OutcomeCanceled},
		{"then rel_code", "rel_code=3&terminate=17", OutcomeDeclined},
		{"a known failure is not asked further", "disconnect_reason=1301&terminate=18", OutcomeFailed},
		{"a known old failure neither", "call_end_reason=1021&terminate=77", OutcomeFailed},
		{"a known code's failure neither", "rel_code=101&terminate=77", OutcomeFailed},

		{"normal decides nothing", "disconnect_reason=1001&terminate=77", OutcomeCanceled},
		{"hung up decides nothing", "call_end_reason=1004&rel_code=2", OutcomeCanceled},
		{"undefined decides nothing", "rel_code=0&terminate=18", OutcomeMissed},
		{"unknown error decides nothing", "call_end_reason=1100&rel_code=1000&terminate=21", OutcomeDeclined},
		{"a new disconnect_reason decides nothing", "disconnect_reason=1999&rel_code=4", OutcomeBusy},
		{"a new call_end_reason decides nothing", "call_end_reason=1999&terminate=17", OutcomeBusy},
		{"a new rel_code decides nothing", "rel_code=299&terminate=77", OutcomeCanceled},
		{"nothing but new numbers", "disconnect_reason=1&call_end_reason=2&rel_code=99999&terminate=3", OutcomeFailed},
	})
}

// Whatever comes, there is an outcome, and it is completed exactly if they talked.
func TestOutcomeProperties(t *testing.T) {
	number := rapid.OneOf(rapid.Just(""), rapid.StringMatching(`1[0-9]{3}|[0-9]{1,3}|-?[0-9]{1,9}`))
	rapid.Check(t, func(t *rapid.T) {
		values := url.Values{"sid": {callSID}}
		for _, name := range []string{"disconnect_reason", "call_end_reason", "rel_code", "terminate"} {
			values.Set(name, number.Draw(t, name))
		}
		e, err := ParseCallEvent(values)
		if err != nil {
			t.Fatal(err)
		}
		switch e.Outcome() {
		case OutcomeCanceled, OutcomeDeclined, OutcomeBusy, OutcomeMissed, OutcomePushFailed, OutcomeFailed:
		default:
			t.Fatalf("outcome %q without talk", e.Outcome())
		}
		values.Set("duration", "1")
		if e, err = ParseCallEvent(values); err != nil || e.Outcome() != OutcomeCompleted {
			t.Fatalf("outcome %q after talk, error %v", e.Outcome(), err)
		}
	})
}

// Number by number: the outcome of every number that there is, when it is all that an event
// says. What is not named here is a failure.
func TestOutcomeOfEveryNumber(t *testing.T) {
	want := map[Family]map[Outcome][]int{
		FamilyDisconnectReason: {
			OutcomeCanceled: {1201}, OutcomeDeclined: {1002}, OutcomeBusy: {1202, 1204, 1205}, OutcomeMissed: {1203}, OutcomePushFailed: {1302, 1313},
		},
		FamilyCallEndReason: {
			OutcomeCanceled: {1000}, OutcomeDeclined: {1003}, OutcomeBusy: {1001, 1024}, OutcomeMissed: {1002}, OutcomePushFailed: {1020},
		},
		FamilyReleaseCode: {
			OutcomeCanceled: {2}, OutcomeDeclined: {3}, OutcomeBusy: {4, 6, 215}, OutcomeMissed: {5}, OutcomePushFailed: {203, 205, 207, 231},
		},
		FamilyTerminate: {OutcomeCanceled: {77}, OutcomeDeclined: {21}, OutcomeBusy: {17}, OutcomeMissed: {18}},
	}
	for _, f := range families() {
		if f.release == nil {
			continue
		}
		outcomes := map[int]Outcome{}
		for outcome, codes := range want[f.name] {
			for _, code := range codes {
				outcomes[code] = outcome
			}
		}
		for _, code := range f.codes {
			expected := outcomes[code]
			if expected == "" {
				expected = OutcomeFailed
			}
			if got := (CallEvent{Release: f.release(code)}).Outcome(); got != expected {
				t.Errorf("%s %d: %s, want %s", f.name, code, got, expected)
			}
			delete(outcomes, code)
		}
		if len(outcomes) > 0 {
			t.Errorf("%s: the table lacks %v", f.name, outcomes)
		}
	}
	all := slices.Sorted(slices.Values(Outcomes()))
	if len(slices.Compact(all)) != 7 || slices.Contains(all, "") {
		t.Errorf("outcomes %v", all)
	}
}
