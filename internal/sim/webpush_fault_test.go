package sim

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// The faults of a push service of browsers, in the words of each.
func TestWebPushFaults(t *testing.T) {
	for _, tt := range []struct {
		name    string
		profile PushProfile
		fault   Fault
		status  int
		body    string
		header  [2]string
	}{
		{"429 with seconds", PushChrome, Fault{Kind: FaultTooMany, RetryAfter: "2"}, 429, "scripted", [2]string{"Retry-After", "2"}},
		{"429 with a date", PushApple, Fault{Kind: FaultTooMany, RetryDate: 3 * time.Second}, 429, `"TooManyRequests"`, [2]string{"Retry-After", "Fri, 01 May 2026 12:00:03 GMT"}},
		{"503", PushFirefox, Fault{Kind: FaultUnavailable, RetryAfter: "120"}, 503, `"errno":201`, [2]string{"Retry-After", "120"}},
		{"503 to be repeated at once", PushFirefox, Fault{Kind: FaultUnavailable, Reason: "202"}, 503, `"errno":202`, [2]string{}},
		{"500", PushApple, Fault{Kind: FaultServerError}, 500, `"InternalServerError"`, [2]string{}},
		{"500", PushWNS, Fault{Kind: FaultServerError}, 500, "", [2]string{"X-Wns-Status", "dropped"}},
		{"403", PushApple, Fault{Kind: FaultUnauthorized}, 403, `"BadJwtToken"`, [2]string{}},
		{"HTML", PushChrome, Fault{Kind: FaultHTML}, 502, "<html>", [2]string{}},
		{"307", PushFirefox, Fault{Kind: FaultRedirect}, 307, "", [2]string{"Location", "/redirected"}},
		{"301", PushChrome, Fault{Kind: FaultRedirect, Status: 301}, 301, "", [2]string{"Location", "/redirected"}},
		{"404 of a wrong path", PushApple, Fault{Kind: FaultAnswer, Answer: Answer{Status: 404}}, 404, `"BadPath"`, [2]string{}},
		{"410", PushApple, Fault{Kind: FaultAnswer, Answer: Answer{Status: 410}}, 410, `"Unregistered"`, [2]string{}},
		{"413", PushFirefox, Fault{Kind: FaultAnswer, Answer: Answer{Status: 413}}, 413, `"errno":104`, [2]string{}},
		{"400", PushFirefox, Fault{Kind: FaultAnswer, Answer: Answer{Status: 400}}, 400, `"errno":110`, [2]string{}},
		{"201 loses it", PushChrome, Fault{Kind: FaultAnswer, Answer: Answer{Status: 201}}, 201, "", [2]string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newPushRig(t, tt.profile, nil)
			tt.fault.Count = 1
			if err := r.Faults().Add(tt.fault); err != nil {
				t.Fatal(err)
			}
			a := r.send(r.good())
			if a.status != tt.status || !strings.Contains(a.body, tt.body) || (tt.header[0] != "" && a.header.Get(tt.header[0]) != tt.header[1]) {
				t.Errorf("%+v", a)
			}
			if n := len(r.Messages()); n != 0 {
				t.Errorf("%d messages", n)
			}
			if a := r.send(r.good()); a.status != 201 || len(r.Messages()) != 1 {
				t.Errorf("the second: %+v", a)
			}
		})
	}
}

// A client that follows a redirect is found out.
func TestWebPushRedirectFollowed(t *testing.T) {
	r := newPushRig(t, PushChrome, nil)
	if err := r.Faults().Add(Fault{Kind: FaultRedirect}); err != nil {
		t.Fatal(err)
	}
	r.send(r.good())
	if n := r.Stats().Followed; n != 0 {
		t.Errorf("%d followed", n)
	}
	r.Faults().Clear()
	if err := r.Faults().Add(Fault{Kind: FaultRedirect, Count: 1}); err != nil {
		t.Fatal(err)
	}
	follow := testClient(t)
	if a := mustDo(t, follow, r.request(r.good())); a.status != 404 {
		t.Errorf("%+v", a)
	}
	if n := r.Stats().Followed; n != 1 {
		t.Errorf("%d followed, want 1", n)
	}
}

// What a sender cannot know: the browser has the push, and the sender no answer.
func TestWebPushDeliveredAndBroken(t *testing.T) {
	for _, kind := range []FaultKind{FaultReset, FaultClose, FaultStreamError, FaultUnavailable} {
		r := newPushRig(t, PushChrome, nil)
		if err := r.Faults().Add(Fault{Kind: kind, Deliver: true, Count: 1}); err != nil {
			t.Fatal(err)
		}
		req := r.request(r.good())
		req.GetBody = nil // the transport must not repeat it by itself
		a, err := do(r.client, req)
		if err == nil && a.status != 503 {
			t.Errorf("%s: %+v", kind, a)
		}
		<-r.got
		if n := len(r.Messages()); n != 1 {
			t.Errorf("%s: %d messages", kind, n)
		}
	}
}

// Slow, silent and broken connections, as of every fake.
func TestWebPushConnections(t *testing.T) {
	r := newPushRig(t, PushChrome, nil)
	if err := r.Faults().Add(Fault{Kind: FaultSlow, Delay: time.Second, Count: 1}); err != nil {
		t.Fatal(err)
	}
	done := make(chan answer)
	req := r.request(r.good())
	go func() {
		a, _ := do(r.client, req)
		done <- a
	}()
	if err := r.clock.AwaitWaiters(testContext(t), 1, time.Second); err != nil {
		t.Fatal(err)
	}
	r.clock.Advance(time.Second)
	if a := <-done; a.status != 201 {
		t.Errorf("slow: %+v", a)
	}
	for _, kind := range []FaultKind{FaultReset, FaultRefusedStream, FaultTLSStall, FaultRefuse, FaultExpired, FaultSilence, FaultHang} {
		r := newPushRig(t, PushChrome, nil)
		if err := r.Faults().Add(Fault{Kind: kind}); err != nil {
			t.Fatal(err)
		}
		req := r.request(r.good())
		ctx, cancel := withTimeout(t, 200*time.Millisecond)
		if a, err := do(r.client, req.WithContext(ctx)); err == nil {
			t.Errorf("%s: %+v", kind, a)
		}
		cancel()
		if n := len(r.Messages()); n != 0 {
			t.Errorf("%s: %d messages", kind, n)
		}
	}
}

func TestWebPushScript(t *testing.T) {
	r := newPushRig(t, PushApple, nil)
	ids := make(chan string, 3)
	r.Script(func(q WebPushRequest) *Answer {
		ids <- q.Subscription
		if q.Number > 1 {
			return nil
		}
		return &Answer{Status: http.StatusServiceUnavailable, Reason: "Shutdown", Header: http.Header{"retry-after": {"1"}}}
	})
	if a := r.send(r.good()); a.status != 503 || a.json(t)["reason"] != "Shutdown" || a.header.Get("Retry-After") != "1" {
		t.Errorf("%+v", a)
	}
	s := r.good()
	s.url += "x"
	r.send(s)
	if a := r.send(r.good()); a.status != 201 {
		t.Errorf("%+v", a)
	}
	for i, want := range []string{r.id, "", r.id} {
		if got := <-ids; got != want {
			t.Errorf("request %d is for %q, want %q", i, got, want)
		}
	}
	if got := r.Stats(); got.Requests != 3 || got.Rejected["script"] != 1 || got.Rejected["path"] != 1 {
		t.Errorf("%+v", got)
	}
}
