package serverapi_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
	"github.com/planetbell/planetbell/planet/serverapi"
)

// operations are the three requests; a POST may not be repeated when it may have been
// carried out.
var operations = map[string]struct {
	do         func(context.Context, *serverapi.Client) error
	repeatable bool
	notFound   error
}{
	"kick out": {func(ctx context.Context, c *serverapi.Client) error {
		return c.KickOut(ctx, room, []string{"bob"}, "Spam")
	}, true, serverapi.ErrRoomNotFound},
	"broadcast": {func(ctx context.Context, c *serverapi.Client) error {
		return c.Broadcast(ctx, room, []byte("hello"))
	}, false, serverapi.ErrRoomNotFound},
	"make an agent call": {func(ctx context.Context, c *serverapi.Client) error {
		_, err := c.MakeAgentCall(ctx, call)
		return err
	}, false, serverapi.ErrNotFound},
}

func TestWire(t *testing.T) {
	p := &peer{reply: func(int, *http.Request) (*http.Response, error) {
		return reply(200, `{"data":{"sid":"151AD995-749C-4A28-893F-636700469DB1"}}`, nil)
	}}
	c := newClient(t, p)
	if err := c.KickOut(t.Context(), planet.RoomRef{ServiceID: "other.service-2", RoomID: "r_1-A"}, []string{"bob", "carol_2"}, "Spam7"); err != nil {
		t.Error(err)
	}
	if err := c.Broadcast(t.Context(), room, []byte("héllo\x00&=<")); err != nil {
		t.Error(err)
	}
	sid, err := c.MakeAgentCall(t.Context(), serverapi.AgentCall{
		Caller: planet.UserRef{UserID: "agent-1"}, Callee: planet.UserRef{ServiceID: "other", UserID: "bob"},
		ContentIDs: []string{"a<b", "c"}, PlayWait: 1500 * time.Millisecond, PlayCount: 2, AppServerData: "x=1&y", RecordOnCloud: true,
	})
	if err != nil || sid != "151ad995-749c-4a28-893f-636700469db1" {
		t.Errorf("%q, %v", sid, err)
	}
	if _, err := c.MakeAgentCall(t.Context(), call); err != nil {
		t.Error(err)
	}
	// Key, colon, and the secret as the text that it is.
	auth := []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(apiKey+":"+secret.Reveal()))}
	agent := http.Header{"Authorization": auth, "Accept": {"application/json"}, "Content-Type": {"application/json"}}
	want := []sent{
		{"DELETE", "/tas/v1/gcall/other.service-2/r_1-A/member?user_id=bob,carol_2&reason=Spam7", "", http.Header{"Authorization": auth}},
		{"POST", "/tas/v1/gcall/my-service/room-1/data/broadcast", "héllo\x00&=<", http.Header{"Authorization": auth, "Content-Type": {"text/plain"}}},
		{"POST", "/tas/v2/agt_call/audio_caller/other/bob", `{"requestContext":{"userId":"agent-1","serviceId":"my-service"},` +
			`"mediaSourceType":"STORED_SOURCE","storedSource":{"storedAudioSources":[{"contentId":"a<b"},{"contentId":"c"}],` +
			`"playWaitTime":1500,"playCount":2},"appSvrData":"x=1&y","recordOnCloud":true,"useResponderPreparation":false}` + "\n", agent},
		{"POST", "/tas/v2/agt_call/audio_caller/my-service/bob", `{"requestContext":{"userId":"agent-1","serviceId":"my-service"},` +
			`"mediaSourceType":"STORED_SOURCE","storedSource":{"storedAudioSources":[{"contentId":"abc"}],` +
			`"playWaitTime":0,"playCount":1},"recordOnCloud":false,"useResponderPreparation":false}` + "\n", agent},
	}
	if diff := cmp.Diff(want, p.requests, cmp.AllowUnexported(sent{})); diff != "" {
		t.Error(diff)
	}
}

// The table of docs/line-planet.md 7.1, and what is not in it.
func TestStatuses(t *testing.T) {
	rows := []struct {
		status  int
		kind    error
		reason  string
		tries   int
		later   bool // Retryable
		perhaps bool // MaybeExecuted
	}{
		{400, serverapi.ErrBadRequest, "BAD_REQUEST", 1, false, false},
		{401, serverapi.ErrUnauthorized, "UNAUTHORIZED", 1, false, false},
		{403, serverapi.ErrForbidden, "FORBIDDEN", 1, false, false},
		{404, nil, "NOT_FOUND", 1, false, false},
		{429, serverapi.ErrTooManyRequests, "TOO_MANY_REQUEST", 4, true, false},
		{500, serverapi.ErrServer, "INTERNAL_SERVER_ERROR", 1, true, true},
		{503, serverapi.ErrUnavailable, "SERVICE_UNAVAILABLE", 4, true, false},
		{302, serverapi.ErrUnexpected, "", 1, false, false},
		{418, serverapi.ErrUnexpected, "", 1, false, false},
		{502, serverapi.ErrUnexpected, "", 1, true, true},
		{504, serverapi.ErrUnexpected, "", 1, true, true},
	}
	for name, op := range operations {
		for _, row := range rows {
			t.Run(fmt.Sprintf("%s/%d", name, row.status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := &peer{reply: func(int, *http.Request) (*http.Response, error) {
						return reply(row.status, `{"message":"because"}`, http.Header{"Location": {"https://elsewhere.example/"}})
					}}
					e := failure(t, op.do(t.Context(), newClient(t, p)))
					kind := row.kind
					if row.status == 404 {
						kind = op.notFound
					}
					if e.Kind != kind || !errors.Is(e, kind) || row.status == 404 && !errors.Is(e, serverapi.ErrNotFound) {
						t.Errorf("the kind is %v", e.Kind)
					}
					if e.Operation != name || e.Status != row.status || e.Reason != row.reason || e.Message != "because" {
						t.Errorf("%+v", e)
					}
					if e.Attempts != row.tries || len(p.requests) != row.tries || e.Retryable != row.later || e.MaybeExecuted != row.perhaps {
						t.Errorf("%+v after %d requests", e, len(p.requests))
					}
				})
			})
		}
	}
}

// What is refused is sent again, and the second answer counts.
func TestRecovers(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for name, op := range operations {
		for what, first := range map[string]func() (*http.Response, error){
			"429":     func() (*http.Response, error) { return status(429) },
			"503":     func() (*http.Response, error) { return status(503) },
			"refused": func() (*http.Response, error) { return nil, refused },
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := &peer{reply: func(n int, _ *http.Request) (*http.Response, error) {
						if n < 4 {
							return first()
						}
						return reply(200, `{"sid":"a-1"}`, nil)
					}}
					start := time.Now()
					if err := op.do(t.Context(), newClient(t, p)); err != nil || len(p.requests) != 4 {
						t.Errorf("%v after %d requests", err, len(p.requests))
					}
					// 0.5, 1 and 2 s, of which a half is random.
					if d := time.Since(start); d < 1750*time.Millisecond || d > 3500*time.Millisecond {
						t.Errorf("the pauses were %v", d)
					}
					if p.requests[0].body != p.requests[3].body || p.requests[3].header.Get("Authorization") == "" {
						t.Error("the repeat differs")
					}
				})
			})
		}
	}
}

// A lost answer: a POST is left alone, a kick-out is repeated.
func TestLostAnswer(t *testing.T) {
	for name, op := range operations {
		for what, lose := range map[string]func(*http.Request) error{
			"reset":   func(*http.Request) error { return &net.OpError{Op: "read", Err: syscall.ECONNRESET} },
			"timeout": func(r *http.Request) error { <-r.Context().Done(); return r.Context().Err() },
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := &peer{reply: func(_ int, r *http.Request) (*http.Response, error) { return nil, lose(r) }}
					start := time.Now()
					e := failure(t, op.do(t.Context(), newClient(t, p)))
					want := 1
					if op.repeatable {
						want = 4
					}
					if len(p.requests) != want || !errors.Is(e, serverapi.ErrNoAnswer) || !e.MaybeExecuted || e.Status != 0 {
						t.Errorf("%d requests, %+v", len(p.requests), e)
					}
					tries := time.Duration(want) * serverapi.DefaultTimeout // and three pauses at most
					if d := time.Since(start); what == "timeout" && (d < tries || d > tries+3500*time.Millisecond) {
						t.Errorf("the tries took %v", d)
					}
					if what == "timeout" && !errors.Is(e, context.DeadlineExceeded) {
						t.Errorf("the cause is %v", e)
					}
				})
			})
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"7": 7 * time.Second, "0": 0, "-3": 0, "soon": 0, "Sat, 01 Jan 2000 00:00:09 GMT": 9 * time.Second, // synctest begins at 0:00
		"Fri, 31 Dec 1999 00:00:00 GMT": 0, "99999999999999999999": 0,
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &peer{reply: func(n int, _ *http.Request) (*http.Response, error) {
				if n == 1 {
					return reply(503, "", http.Header{"Retry-After": {text}})
				}
				return status(200)
			}}
			start := time.Now()
			err := newClient(t, p).Broadcast(t.Context(), room, []byte("x"))
			if d := time.Since(start); err != nil || d < want || d > want+500*time.Millisecond {
				t.Errorf("%q: waited %v, %v", text, d, err)
			}
		})
	}
}

// Nothing is waited for that lies beyond a minute, or beyond the context's end.
func TestNoWaitInVain(t *testing.T) {
	for _, c := range []struct {
		after string
		limit time.Duration
	}{{"61", time.Hour}, {"30", 20 * time.Second}, {"", 100 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			p := &peer{reply: func(int, *http.Request) (*http.Response, error) {
				return reply(429, "", http.Header{"Retry-After": {c.after}})
			}}
			ctx, cancel := context.WithTimeout(t.Context(), c.limit)
			defer cancel()
			start := time.Now()
			e := failure(t, newClient(t, p).Broadcast(ctx, room, []byte("x")))
			if time.Since(start) != 0 || len(p.requests) != 1 || e.Status != 429 || !e.Retryable {
				t.Errorf("%+v: %+v after %v", c, e, time.Since(start))
			}
			if c.after == "61" && e.RetryAfter != 61*time.Second {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestContextEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{reply: func(_ int, r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}}
		c := newClient(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		e := failure(t, c.KickOut(ctx, room, []string{"bob"}, "x"))
		if time.Since(start) != 3*time.Second || len(p.requests) != 1 || !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("%+v after %v", e, time.Since(start))
		}
		e = failure(t, c.KickOut(ctx, room, []string{"bob"}, "x"))
		if len(p.requests) != 1 || e.Attempts != 0 || e.MaybeExecuted {
			t.Errorf("a request left after the end: %+v", e)
		}
	})
}

// A context that is cancelled during a pause ends it, and the answer that came is told.
func TestCancelledPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{reply: func(int, *http.Request) (*http.Response, error) {
			return reply(429, "", http.Header{"Retry-After": {"20"}})
		}}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		start := time.Now()
		e := failure(t, newClient(t, p).Broadcast(ctx, room, []byte("x")))
		if time.Since(start) != 5*time.Second || e.Status != 429 || len(p.requests) != 1 {
			t.Errorf("%+v after %v", e, time.Since(start))
		}
	})
}

// A request whose turn would come too late is not sent, and does not wait for the context.
func TestNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{reply: func(int, *http.Request) (*http.Response, error) { return status(200) }}
		c := newClient(t, p, func(c *serverapi.Config) { c.Limiter = serverapi.NewLimiter(1) })
		var late int
		for range 15 {
			ctx, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
			err := c.Broadcast(ctx, room, []byte("x"))
			cancel()
			if err != nil {
				e := failure(t, err)
				if !errors.Is(e, serverapi.ErrTooManyRequests) || !errors.Is(e, context.DeadlineExceeded) || e.Status != 0 || e.MaybeExecuted {
					t.Errorf("%+v", e)
				}
				late++
			}
		}
		if len(p.requests) != 10 || late != 5 {
			t.Errorf("%d requests, %d late", len(p.requests), late)
		}
	})
}

// An answer may show the credential back; nobody will see it.
func TestAnswerShowsSecret(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte(apiKey + ":" + secret.Reveal()))
	for _, body := range []string{
		`{"message":"wrong ` + secret.Reveal() + `","code":"` + auth + `"}`,
		strings.Repeat("x", 1000) + secret.Reveal(), "Basic " + auth,
	} {
		p := &peer{reply: func(int, *http.Request) (*http.Response, error) { return reply(401, body, nil) }}
		e := failure(t, newClient(t, p).Broadcast(t.Context(), room, []byte("x")))
		if text := e.Code + e.Message; strings.Contains(text, secret.Reveal()[:20]) || strings.Contains(text, auth[:20]) {
			t.Errorf("%q", text)
		}
	}
}

func TestNothingPrintsTheSecret(t *testing.T) {
	c := newClient(t, &peer{})
	config := serverapi.Config{APIKey: apiKey, APISecret: secret}
	auth := base64.StdEncoding.EncodeToString([]byte(apiKey + ":" + secret.Reveal()))
	for _, form := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		for _, v := range []any{c, *c, config} {
			text := fmt.Sprintf(form, v)
			testlog.Keep(t, form, text)
			if strings.Contains(text, testlog.Hex) || strings.Contains(text, auth[20:]) || strings.Contains(text, fmt.Sprintf("%x", auth[20:])) {
				t.Errorf("%s prints the secret: %s", form, text)
			}
		}
	}
}

// An endless answer is read to a bound, and an unreadable one is an answer all the same.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		body string
		sid  planet.SessionID
	}{
		{`{"data":{"sid":"A-1"},"sid":"b-2"}`, "a-1"},
		{`{"sid":"B-2","data":null}`, "b-2"},
		{`{"sid":"B-2","data":[1]}`, "b-2"},
		{`{"status":"success"}`, ""},
		{`{"sid":"not a session"}`, ""},
		{``, ""},
		{`<html>`, ""},
		{`{"sid":"b-2"`, ""},
		{`{"sid":"b-2","pad":"` + strings.Repeat("x", 1<<20) + `"}`, ""},
	} {
		p := &peer{reply: func(int, *http.Request) (*http.Response, error) { return reply(200, c.body, nil) }}
		sid, err := newClient(t, p).MakeAgentCall(t.Context(), call)
		if sid != c.sid || len(p.requests) != 1 {
			t.Errorf("%.30s: %q, %v", c.body, sid, err)
		}
		if c.sid == "" {
			if e := failure(t, err); !errors.Is(e, serverapi.ErrUnexpected) || !e.MaybeExecuted {
				t.Errorf("%.30s: %+v", c.body, e)
			}
		}
	}
}

func TestValidation(t *testing.T) {
	p := &peer{reply: func(int, *http.Request) (*http.Response, error) { return reply(200, `{"sid":"a"}`, nil) }}
	c := newClient(t, p)
	users := func(n int) []string { return slices.Repeat([]string{"u"}, n) }
	kick := func(room planet.RoomRef, users []string, reason string) error {
		return c.KickOut(t.Context(), room, users, reason)
	}
	agent := func(change func(*serverapi.AgentCall)) error {
		a := call
		change(&a)
		_, err := c.MakeAgentCall(t.Context(), a)
		return err
	}
	type row struct {
		name string
		err  error
		ok   bool
	}
	rows := []row{
		{"100 users", kick(room, users(100), "x"), true},
		{"101 users", kick(room, users(101), "x"), false},
		{"no user", kick(room, nil, "x"), false},
		{"user with comma", kick(room, []string{"a,b"}, "x"), false},
		{"no reason", kick(room, users(1), ""), false},
		{"reason with space", kick(room, users(1), "a b"), false},
		{"reason with umlaut", kick(room, users(1), "ä"), false},
		{"reason of 299", kick(room, users(1), strings.Repeat("x", 299)), true},
		{"reason of 300", kick(room, users(1), strings.Repeat("x", 300)), false},
		{"room with slash", kick(planet.RoomRef{RoomID: "a/b"}, users(1), "x"), false},
		{"no room", kick(planet.RoomRef{}, users(1), "x"), false},
		{"service of dots", kick(planet.RoomRef{ServiceID: "..", RoomID: "r"}, users(1), "x"), false},
		{"service with dots", kick(planet.RoomRef{ServiceID: "..a", RoomID: "r"}, users(1), "x"), true},
		{"message of 3072", c.Broadcast(t.Context(), room, make([]byte, 3072)), true},
		{"message of 3073", c.Broadcast(t.Context(), room, make([]byte, 3073)), false},
		{"no message", c.Broadcast(t.Context(), room, nil), false},
		{"data of 4095", agent(func(a *serverapi.AgentCall) { a.AppServerData = strings.Repeat("x", 4095) }), true},
		{"data of 4096", agent(func(a *serverapi.AgentCall) { a.AppServerData = strings.Repeat("x", 4096) }), false},
		{"data with NUL", agent(func(a *serverapi.AgentCall) { a.AppServerData = "a\x00b" }), false},
		{"data not UTF-8", agent(func(a *serverapi.AgentCall) { a.AppServerData = "\xff" }), false},
		{"media type of 48", agent(func(a *serverapi.AgentCall) { a.MediaSourceType = strings.Repeat("X", 48) }), true},
		{"media type of 49", agent(func(a *serverapi.AgentCall) { a.MediaSourceType = strings.Repeat("X", 49) }), false},
		{"no content", agent(func(a *serverapi.AgentCall) { a.ContentIDs = nil }), false},
		{"empty content", agent(func(a *serverapi.AgentCall) { a.ContentIDs = []string{"a", ""} }), false},
		{"many contents", agent(func(a *serverapi.AgentCall) { a.ContentIDs = users(101) }), false},
		{"negative wait", agent(func(a *serverapi.AgentCall) { a.PlayWait = -1 }), false},
		{"negative count", agent(func(a *serverapi.AgentCall) { a.PlayCount = -1 }), false},
		{"calls himself", agent(func(a *serverapi.AgentCall) { a.Callee = a.Caller }), false},
		{"caller malformed", agent(func(a *serverapi.AgentCall) { a.Caller.UserID = "a b" }), false},
		{"callee malformed", agent(func(a *serverapi.AgentCall) { a.Callee.UserID = "../x" }), false},
		{"callee service malformed", agent(func(a *serverapi.AgentCall) { a.Callee.ServiceID = "a_b" }), false},
	}
	sent := 0
	for _, r := range rows {
		if r.ok {
			sent++
			if r.err != nil {
				t.Errorf("%s: %v", r.name, r.err)
			}
			continue
		}
		if e := failure(t, r.err); !errors.Is(e, serverapi.ErrInvalid) || e.Attempts != 0 || e.Retryable || e.MaybeExecuted {
			t.Errorf("%s: %+v", r.name, e)
		}
	}
	if len(p.requests) != sent {
		t.Errorf("%d requests were sent, want %d", len(p.requests), sent)
	}
}

func TestConfig(t *testing.T) {
	good := serverapi.Config{Environment: planet.Real, ServiceID: service, APIKey: apiKey, APISecret: secret}
	for name, c := range map[string]struct {
		change func(*serverapi.Config)
		want   string // of the host; "" is an error
	}{
		"real":            {func(*serverapi.Config) {}, "vpnx-stn-api.line-apps.com"},
		"evaluation":      {func(c *serverapi.Config) { c.Environment = planet.Evaluation }, "vpnx-stn-api.line-apps-rc.com"},
		"own URL":         {func(c *serverapi.Config) { c.BaseURL = "https://proxy.example/line/" }, "proxy.example"},
		"loopback":        {func(c *serverapi.Config) { c.BaseURL = "http://127.0.0.1:1" }, "127.0.0.1:1"},
		"loopback 6":      {func(c *serverapi.Config) { c.BaseURL = "http://[::1]:1" }, "[::1]:1"},
		"no environment":  {func(c *serverapi.Config) { c.Environment = "" }, ""},
		"http":            {func(c *serverapi.Config) { c.BaseURL = "http://proxy.example" }, ""},
		"ftp":             {func(c *serverapi.Config) { c.BaseURL = "ftp://proxy.example" }, ""},
		"no URL":          {func(c *serverapi.Config) { c.BaseURL = "proxy" }, ""},
		"broken URL":      {func(c *serverapi.Config) { c.BaseURL = "https://a\x7f" }, ""},
		"URL with user":   {func(c *serverapi.Config) { c.BaseURL = "https://" + testlog.Text + ":x@proxy.example" }, ""},
		"URL with query":  {func(c *serverapi.Config) { c.BaseURL = "https://proxy.example?a=1" }, ""},
		"no service":      {func(c *serverapi.Config) { c.ServiceID = "" }, ""},
		"service of dots": {func(c *serverapi.Config) { c.ServiceID = "." }, ""},
		"key malformed":   {func(c *serverapi.Config) { c.APIKey = "a:b" }, ""},
		"no secret":       {func(c *serverapi.Config) { c.APISecret = "" }, ""},
		"timeout":         {func(c *serverapi.Config) { c.Timeout = -1 }, ""},
	} {
		config := good
		c.change(&config)
		host := ""
		config.Transport = &peer{reply: func(_ int, r *http.Request) (*http.Response, error) {
			host = r.URL.Host
			return status(200)
		}}
		client, err := serverapi.New(config)
		if err == nil {
			err = client.Broadcast(t.Context(), room, []byte("x"))
		}
		if host != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v", name, host, err)
		}
		if err != nil && strings.Contains(err.Error(), testlog.Text) {
			t.Errorf("%s: the error shows what may be a password: %v", name, err)
		}
		if config.BaseURL != "" && (serverapi.CheckBaseURL(config.BaseURL) == nil) != (c.want != "") {
			t.Errorf("%s: CheckBaseURL sees it differently", name)
		}
	}
}
