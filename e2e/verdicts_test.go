package e2e

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/verdict"
	"github.com/planetbell/planetbell/planet"
)

// This file holds the verdicts together with what causes them: when all tests of the package
// have run, each code of docs/verdicts.md was the answer that some test wanted and got.

// notCaused are the codes that nothing from outside can cause, each with why.
var notCaused = map[verdict.Code]string{
	"unknown":       "what every record falls to that no rule knows: each call on record has a Notify, a Call Event or an Agent Call Status, and each of them has a rule",
	"not_explained": "what every delivery falls to that no rule knows: only a later version on the same database writes reasons that this one does not have",
}

// met are the codes that tests wanted and got.
var met struct {
	sync.Mutex
	codes map[verdict.Code]bool
}

// meet notes a code that a test wanted and got.
func meet(code verdict.Code) {
	met.Lock()
	defer met.Unlock()
	if met.codes == nil {
		met.codes = map[verdict.Code]bool{}
	}
	met.codes[code] = true
}

// unmet are the codes that no test met, and those that were met although nothing can cause them.
func unmet() (missing, wrong []string) {
	met.Lock()
	defer met.Unlock()
	calls, devices := verdict.Rules()
	for _, r := range slices.Concat(calls, devices) {
		_, never := notCaused[r.Code]
		switch {
		case never && met.codes[r.Code]:
			wrong = append(wrong, string(r.Code))
		case !never && !met.codes[r.Code]:
			missing = append(missing, string(r.Code))
		}
	}
	return missing, wrong
}

// everyVerdict is set to look at the verdicts although only some of the tests run:
//
//	PLANETBELL_EVERY_VERDICT=1 go test -run '^Test(Why|Matrix)' ./e2e
const everyVerdict = "PLANETBELL_EVERY_VERDICT"

// wholeRun reports whether all tests ran that meet verdicts, given the flags of the run. "make test"
// leaves the chaos out, which meets none.
func wholeRun(value func(name string) string) bool {
	return value("run") == "" && value("list") == "" && value("short") == "false" && slices.Contains([]string{"", "^TestChaos$"}, value("skip"))
}

// judged is the exit code of the package, given that of its tests.
func judged(code int, out io.Writer) int {
	value := func(name string) string { return flag.Lookup("test." + name).Value.String() }
	if code != 0 || !wholeRun(value) && os.Getenv(everyVerdict) == "" {
		return code
	}
	missing, wrong := unmet()
	if len(missing) > 0 {
		fmt.Fprintf(out, "No test of this package causes the verdicts %s: give each a case (why_*_test.go).\n", strings.Join(missing, ", "))
		code = 1
	}
	if len(wrong) > 0 {
		fmt.Fprintf(out, "A test causes the verdicts %s, so they are not among notCaused.\n", strings.Join(wrong, ", "))
		code = 1
	}
	return code
}

// says waits until a call has the verdict, and looks for words in what it says.
func (s *scene) says(sid planet.SessionID, code verdict.Code, words ...string) verdict.Verdict {
	s.t.Helper()
	v := s.because(sid, code)
	wantWords(s.t, v.Code, v.Sentence, words)
	return v
}

// deviceSays is says for one of the callee's devices, whatever the call's own verdict is.
func (s *scene) deviceSays(sid planet.SessionID, code verdict.Code, words ...string) verdict.DeviceVerdict {
	s.t.Helper()
	var v verdict.Verdict
	deadline := time.Now().Add(patience / 2)
	s.await(fmt.Sprintf("a device's verdict is %s", code), func() bool {
		v = s.why(sid)
		return time.Now().After(deadline) || slices.ContainsFunc(v.Devices, func(d verdict.DeviceVerdict) bool { return d.Code == code })
	})
	return wantDevice(s.t, v, code, words...)
}

// wantDevice wants a device with a code in a verdict, whose sentence has some words.
func wantDevice(t *testing.T, v verdict.Verdict, code verdict.Code, words ...string) verdict.DeviceVerdict {
	t.Helper()
	i := slices.IndexFunc(v.Devices, func(d verdict.DeviceVerdict) bool { return d.Code == code })
	if i < 0 {
		t.Errorf("no device has the verdict %s: %+v", code, v.Devices)
		return verdict.DeviceVerdict{}
	}
	d := v.Devices[i]
	meet(d.Code)
	wantWords(t, d.Code, d.Sentence, words)
	return d
}

// wantWords wants words in a sentence.
func wantWords(t *testing.T, code verdict.Code, sentence verdict.Text, words []string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(sentence.English, word) {
			t.Errorf("%s says %q, which does not name %q", code, sentence.English, word)
		}
	}
}

// ask calls somebody as Planet Cloud would, with a session that the simulator knows nothing of:
// its Call Event comes when the story says so, or never.
func (s *scene) ask(to string) planet.SessionID {
	s.t.Helper()
	sid := planet.SessionID(uuid.NewString())
	s.tell("notify", notify(string(sid), s.project().ServiceID, to))
	return sid
}

// ends ends such a call with LINE Planet's numbers.
func (s *scene) ends(sid planet.SessionID, to, reason, code string) {
	s.t.Helper()
	s.tell("call-event", s.eventOf(sid, to, reason, code))
}

// tell sends a callback, which must be taken.
func (s *scene) tell(name string, values url.Values) {
	s.t.Helper()
	if a := s.callback(s.project(), name, values); a.status != http.StatusOK {
		s.t.Fatalf("%s was answered %d %s", name, a.status, a.body)
	}
}

// eventOf is the Call Event of a call that ends now: LINE Planet's times are in seconds.
func (s *scene) eventOf(sid planet.SessionID, to, reason, code string) url.Values {
	v := callEvent(string(sid), s.project().ServiceID, to)
	v.Set("end_time", strconv.FormatInt(time.Now().Unix(), 10))
	v.Set("disconnect_reason", reason)
	v.Set("rel_code", code)
	v.Set("terminate", "127")
	v.Del("rel_code_str")
	return v
}

// android gives a user a phone of which FCM knows, and which does nothing. It returns its token.
func (s *scene) android(user string) string {
	s.t.Helper()
	token := fmt.Sprintf("%s:%0140d", sim.FCMTokenPrefix, serial.Add(1))
	s.World.FCM.Register(token, nil)
	s.addDevice(fmt.Sprintf(`{"project":"demo","user_id":%q,"channel":"fcm","app_type":"ANDROID","push_token":%q}`, user, token))
	return token
}

// iphone gives a user one that does nothing; APNs knows of it unless it is a stranger.
func (s *scene) iphone(user string, stranger bool) {
	s.t.Helper()
	token := fmt.Sprintf("%s%052x", sim.APNsTokenPrefix, serial.Add(1))
	if !stranger {
		s.World.Production.Register(token, s.World.Settings().BundleID+".voip", nil)
	}
	s.addDevice(fmt.Sprintf(`{"project":"demo","user_id":%q,"channel":"apns_voip","app_type":"IOS","apns_server":"production","push_token":%q}`, user, token))
}

func (s *scene) addDevice(body string) {
	s.t.Helper()
	if status := s.admin(http.MethodPost, "/admin/v1/devices", body, nil); status != http.StatusCreated {
		s.t.Fatalf("add a device: %d", status)
	}
}

// fault makes something go wrong at a target.
func (s *scene) fault(target string, f sim.Fault) {
	s.t.Helper()
	if err := s.World.AddFault(target, f); err != nil {
		s.t.Fatal(err)
	}
}

// hang makes a push service answer nothing any more.
func (s *scene) hang(target string) {
	s.t.Helper()
	s.fault(target, sim.Fault{Kind: sim.FaultHang})
}

// passed waits until so much time has passed since a moment.
func (s *scene) passed(d time.Duration, since time.Time) {
	s.t.Helper()
	s.await(d.String()+" have passed", func() bool { return time.Since(since) > d })
}

// The verdicts are looked at when everything ran, as "make test" has it, and never when only some
// tests did.
func TestWhenTheVerdictsAreLookedAt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flag, value string
		whole       bool
	}{
		{"", "", true},
		{"skip", "^TestChaos$", true},
		{"skip", "^TestWhy", false},
		{"run", "^TestWhy", false},
		{"list", ".", false},
		{"short", "true", false},
	} {
		got := wholeRun(func(name string) string {
			if name == c.flag {
				return c.value
			}
			return flag.Lookup("test." + name).DefValue
		})
		if got != c.whole {
			t.Errorf("with -%s %s it is a whole run: %t, want %t", c.flag, c.value, got, c.whole)
		}
	}
}

// What cannot be caused is a verdict all the same.
func TestWhatIsNotCausedIsAVerdict(t *testing.T) {
	t.Parallel()
	calls, devices := verdict.Rules()
	for code, why := range notCaused {
		if why == "" || !slices.ContainsFunc(slices.Concat(calls, devices), func(r verdict.Rule) bool { return r.Code == code }) {
			t.Errorf("%s is no verdict, or has no reason", code)
		}
	}
}
