package policy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestHookIsAskedAndHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, Settings{Names: true, Hook: hooked.Hook})
		d.store.facts.CallerName = "Registered"
		d.customer.body = `{"caller_name":"Alice","app_fields":{"app_x":"1"}}`
		want := bell.Decision{CallerName: "Alice", AppFields: map[string]string{"app_x": "1"}}
		if diff := cmp.Diff(want, d.decide("alice")); diff != "" {
			t.Error(diff)
		}
		d.customer.body = ""
		if diff := cmp.Diff(bell.Decision{CallerName: "Registered"}, d.decide("alice")); diff != "" {
			t.Error(diff)
		}
		d.customer.body = `{"ring":false,"reason":"blocked"}`
		if got := d.decide("alice"); got.Suppress != bell.SuppressBlocked {
			t.Errorf("%+v", got)
		}
		question := d.customer.asked[0]
		var said any
		if err := json.Unmarshal([]byte(question.body), &said); err != nil {
			t.Fatal(err)
		}
		party := func(user string) map[string]any { return map[string]any{"service_id": "svc", "user_id": user} }
		asked := map[string]any{
			"sid": "s1", "project": "acme", "environment": "evaluation", "type": "video", "caller": party("alice"), "callee": party("bob"),
		}
		if diff := cmp.Diff(asked, said); diff != "" {
			t.Error(diff)
		}
		// Standard Webhooks: base64(HMAC-SHA256(id.timestamp.body)), each question with an ID of its own.
		h := question.header
		key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(hookSecret.Reveal(), "whsec_"))
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(h.Get("webhook-id") + "." + h.Get("webhook-timestamp") + "." + question.body))
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); h.Get("webhook-signature") != want {
			t.Errorf("signature %q, want %q", h.Get("webhook-signature"), want)
		}
		if h.Get("webhook-timestamp") != strconv.FormatInt(time.Now().Unix(), 10) || h.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", h)
		}
		if d.customer.asked[1].header.Get("webhook-id") == h.Get("webhook-id") {
			t.Error("two questions have one ID")
		}
	})
}

// Whom the callee's own rules keep away, the hook is not asked about.
func TestHookIsNotAskedAboutTheBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, Settings{Rules: true, Hook: hooked.Hook})
		d.store.facts.Blocked = true
		if got := d.decide("alice"); got.Suppress != bell.SuppressBlocked || d.customer.times() > 0 {
			t.Errorf("%+v, asked %d times", got, d.customer.times())
		}
	})
}

// Whatever a hook does, the call rings in time.
// The built-in rules and names are for invitations too, the hook is for calls only.
func TestHookIsNotAskedAboutInvitations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, Settings{Rules: true, Names: true, Hook: hooked.Hook})
		d.store.facts.CallerName, d.customer.body = "Registered", `{"ring":false}`
		invitation := callOf("alice")
		invitation.Purpose = bell.PurposeInvitation
		want := bell.Decision{CallerName: "Registered"}
		if diff := cmp.Diff(want, d.Decide(t.Context(), acme, invitation)); diff != "" || d.customer.times() != 0 {
			t.Errorf("asked %d times: %s", d.customer.times(), diff)
		}
		d.store.facts.Blocked = true
		if got := d.Decide(t.Context(), acme, invitation); got.Suppress != bell.SuppressBlocked {
			t.Errorf("%+v", got)
		}
	})
}

func TestHookThatIsUnwellLetsTheCallRing(t *testing.T) {
	no := `{"ring":false}`
	for name, test := range map[string]struct {
		customer *customer
		result   string
		took     time.Duration
	}{
		"hangs":                  {&customer{hangs: true}, askedTimeout, 150 * time.Millisecond},
		"is slow":                {&customer{status: 200, body: no, delay: 151 * time.Millisecond}, askedTimeout, 150 * time.Millisecond},
		"is just in time":        {&customer{status: 200, delay: 149 * time.Millisecond}, askedAnswered, 149 * time.Millisecond},
		"is gone":                {&customer{err: errRefused}, askedFailed, 0},
		"fails":                  {&customer{status: 500, body: no}, askedRefused, 0},
		"does not know":          {&customer{status: 404, body: no}, askedRefused, 0},
		"redirects":              {&customer{status: 302, body: no, header: http.Header{"Location": {"https://other.example.com"}}}, askedRefused, 0},
		"answers something else": {&customer{status: 200, body: "<html>"}, askedInvalid, 0},
		"answers without end":    {&customer{status: 200, body: no + strings.Repeat(" ", maxAnswer)}, askedInvalid, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := open(t, hooked)
				test.customer.header = header(test.customer.header, "Cache-Control", "max-age=60")
				c := d.customer
				c.status, c.header, c.body, c.err, c.delay, c.hangs = test.customer.status, test.customer.header, test.customer.body, test.customer.err, test.customer.delay, test.customer.hangs
				began := time.Now()
				if got := d.decide("alice"); !cmp.Equal(got, bell.Decision{}) {
					t.Errorf("%+v", got)
				}
				if took := time.Since(began); took != test.took {
					t.Errorf("it took %v, want %v", took, test.took)
				}
				if diff := cmp.Diff(map[string]int{test.result: 1}, d.results()); diff != "" {
					t.Error(diff)
				}
				synctest.Wait()
				if n := c.times(); n != 1 {
					t.Errorf("asked %d times", n)
				}
				if test.result != askedAnswered { // nothing of that is remembered
					d.decide("alice")
					if n := c.times(); n != 2 {
						t.Errorf("asked %d times, want 2", n)
					}
				}
			})
		})
	}
}

func header(h http.Header, key, value string) http.Header {
	if h == nil {
		h = http.Header{}
	}
	h.Set(key, value)
	return h
}

func TestAnswersAreUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, hooked)
		d.customer.body, d.customer.header = `{"ring":false}`, header(nil, "Cache-Control", "max-age=30")
		ask := func(c bell.Call) {
			t.Helper()
			if got := d.Decide(t.Context(), acme, c); got.Suppress != bell.SuppressPolicy {
				t.Errorf("%+v", got)
			}
		}
		ask(callOf("alice"))
		later := callOf("alice")
		later.SessionID = "s2"
		ask(later)
		if n := d.customer.times(); n != 1 {
			t.Errorf("asked %d times, want 1", n)
		}
		for i, other := range []func(*bell.Call){
			func(c *bell.Call) { c.Caller.UserID = "carol" },
			func(c *bell.Call) { c.Caller.ServiceID = "other" },
			func(c *bell.Call) { c.Callee.UserID = "dave" },
			func(c *bell.Call) { c.Type = planet.AudioCall },
			func(c *bell.Call) { c.Environment = planet.Real },
		} {
			c := callOf("alice")
			other(&c)
			ask(c)
			if n := d.customer.times(); n != 2+i {
				t.Errorf("asked %d times, want %d", n, 2+i)
			}
		}
		<-time.After(30 * time.Second)
		ask(callOf("alice"))
		if n := d.customer.times(); n != 7 {
			t.Errorf("asked %d times once the answer is old, want 7", n)
		}
	})
}

// Calls of the same two users at once share a question, and others do not wait for it.
func TestOneQuestionAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, hooked)
		d.customer.body, d.customer.release = `{"ring":false}`, make(chan struct{})
		var calls sync.WaitGroup
		for i := range 20 {
			calls.Go(func() {
				if got := d.decide([]string{"alice", "carol"}[i%2]); got.Suppress != bell.SuppressPolicy {
					t.Errorf("%+v", got)
				}
			})
		}
		synctest.Wait()
		close(d.customer.release)
		calls.Wait()
		if d.customer.times() != 2 || d.customer.atOnce != 2 {
			t.Errorf("asked %d times, %d at once; want 2", d.customer.times(), d.customer.atOnce)
		}
		if diff := cmp.Diff(map[string]int{askedAnswered: 20}, d.results()); diff != "" {
			t.Error(diff)
		}
		d.decide("alice") // nothing was to be remembered
		if d.customer.times() != 3 {
			t.Errorf("asked %d times, want 3", d.customer.times())
		}
	})
}

// A hook that is dead costs no call its time limit for long; one that is well again is found.
func TestDeadHookIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, hooked)
		d.customer.hangs = true
		for i := range breakerLeast {
			d.decide(fmt.Sprint("caller-", i))
		}
		synctest.Wait()
		began := time.Now()
		for i := range 100 {
			if got := d.decide(fmt.Sprint("later-", i)); !cmp.Equal(got, bell.Decision{}) {
				t.Errorf("%+v", got)
			}
		}
		if took := time.Since(began); took != 0 || d.customer.times() != breakerLeast {
			t.Errorf("it took %v, and the hook was asked %d times", took, d.customer.times())
		}
		<-time.After(breakerProbe + time.Millisecond)
		began = time.Now()
		d.decide("probe")
		d.decide("beside")
		if took := time.Since(began); took != 0 {
			t.Errorf("the probe was waited for: %v", took)
		}
		synctest.Wait()
		if n := d.customer.times(); n != breakerLeast+1 {
			t.Errorf("asked %d times, want one more", n)
		}
		d.customer.set(func(c *customer) { c.hangs, c.body = false, `{"ring":false}` })
		<-time.After(2 * time.Second)
		d.decide("probe")
		synctest.Wait()
		if got := d.decide("alice"); got.Suppress != bell.SuppressPolicy {
			t.Errorf("the hook is well, and not heard: %+v", got)
		}
		want := map[string]int{askedTimeout: breakerLeast, askedBreaker: 101, askedProbe: 2, askedAnswered: 1}
		if diff := cmp.Diff(want, d.results()); diff != "" {
			t.Error(diff)
		}
	})
}

// A hook that says 404, or something odd, at once is not dead: others get their answer.
func TestHookThatRefusesSomeIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, hooked)
		d.customer.status = 404
		for i := range 3 * breakerLeast {
			d.decide(fmt.Sprint("caller-", i))
		}
		d.customer.set(func(c *customer) { c.status, c.body = 200, "odd" })
		for i := range 3 * breakerLeast {
			d.decide(fmt.Sprint("caller-", i))
		}
		d.customer.set(func(c *customer) { c.body = `{"ring":false}` })
		if got := d.decide("alice"); got.Suppress != bell.SuppressPolicy {
			t.Errorf("%+v", got)
		}
	})
}

func TestTooManyQuestionsAreNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, hooked)
		d.customer.release = make(chan struct{})
		var calls sync.WaitGroup
		for i := range hookRoom {
			calls.Go(func() { d.decide(fmt.Sprint("caller-", i)) })
		}
		synctest.Wait()
		began := time.Now()
		d.decide("one more")
		if took := time.Since(began); took != 0 || d.customer.times() != hookRoom {
			t.Errorf("it took %v; asked %d times", took, d.customer.times())
		}
		close(d.customer.release)
		calls.Wait()
		d.decide("one more")
		if diff := cmp.Diff(map[string]int{askedAnswered: hookRoom + 1, askedFull: 1}, d.results()); diff != "" {
			t.Error(diff)
		}
	})
}

// The end of a call's context, or of the server, ends the wait.
func TestHookEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, hooked)
		d.customer.hangs = true
		var decided bell.Decision
		var call sync.WaitGroup
		began := time.Now()
		call.Go(func() { decided = d.decide("alice") })
		synctest.Wait()
		d.Close()
		call.Wait()
		if took := time.Since(began); took != 0 || !cmp.Equal(decided, bell.Decision{}) {
			t.Errorf("it took %v: %+v", took, decided)
		}
		d.decide("alice")
		if d.customer.times() != 1 {
			t.Error("the hook was asked after the end")
		}
	})
}

func TestHookSecrets(t *testing.T) {
	for _, size := range []int{24, 64} {
		want := []byte(testlog.TextSecret(strings.Repeat("x", 64)))[:size]
		got, err := ParseHookSecret(planet.Secret("whsec_" + base64.StdEncoding.EncodeToString(want)))
		if err != nil || string(got) != string(want) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	canary := testlog.TextSecret("not-a-secret")
	for _, wrong := range []string{
		"", "whsec_", canary, "whsec_" + canary, base64.StdEncoding.EncodeToString([]byte(strings.Repeat(canary, 2))[:32]),
		"whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 23)), "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65)),
	} {
		_, err := New(Config{Settings: map[string]Settings{"acme": {Hook: Hook{URL: hookURL, Secret: planet.Secret(wrong)}}}})
		if err == nil || !strings.Contains(err.Error(), "acme") || strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "example.com") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}
