package console_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// ringing is a call that rings for as long as the test lasts.
func ringing(context.Context, planet.Environment, planet.SessionID) (call.Record, error) {
	record := storyOfMissedCall()
	record.Call.State, record.Call.Outcome, record.Call.EndedAt = bell.CallRinging, "", time.Time{}
	return record, nil
}

const live = "/calls/" + string(sid) + "/live"

func TestHowManyCallsOneMayFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := told(t)
		f.show = ringing
		h := newHandler(t, f, rolesConfig())
		ctx, cancel := context.WithCancel(t.Context())
		following := func(r *http.Request) { *r = *r.WithContext(ctx) }
		var readers sync.WaitGroup
		for range 8 {
			readers.Go(func() { ask(t, h, "GET", live, "", asRole(bell.Viewer), following) })
		}
		synctest.Wait()
		wantProblem(t, ask(t, h, "GET", live, "", asRole(bell.Viewer), following), http.StatusTooManyRequests, "too_many", "follow calls")
		readers.Go(func() {
			if w := ask(t, h, "GET", live, "", asRole(bell.Operator), following); w.Code != http.StatusOK {
				t.Errorf("another reader: %d", w.Code)
			}
		})
		synctest.Wait()
		cancel()
		readers.Wait()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if w := ask(t, h, "GET", live, "", asRole(bell.Viewer), following); w.Code != http.StatusOK {
			t.Errorf("when the others have gone: %d", w.Code)
		}
	})
}

// A database that does not answer keeps those who follow one call for as long as the first who
// asks it, and nobody whose browser has gone.
func TestFollowersOfOneCallWaitTogether(t *testing.T) {
	for name, leave := range map[string]time.Duration{"they stay": time.Hour, "they leave": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := told(t)
				f.show = func(ctx context.Context, _ planet.Environment, _ planet.SessionID) (call.Record, error) {
					<-ctx.Done()
					return call.Record{}, ctx.Err()
				}
				h := newHandler(t, f, rolesConfig())
				start := time.Now()
				follow := func(ctx context.Context, want time.Duration) func() {
					return func() {
						ask(t, h, "GET", live, "", asRole(bell.Viewer), func(r *http.Request) { *r = *r.WithContext(ctx) })
						if took := time.Since(start); took != want {
							t.Errorf("it took %s, want %s", took, want)
						}
					}
				}
				var readers sync.WaitGroup
				readers.Go(follow(t.Context(), 5*time.Second))
				synctest.Wait() // it asks
				ctx, cancel := context.WithTimeout(t.Context(), leave)
				defer cancel()
				for range 7 {
					readers.Go(follow(ctx, min(leave, 5*time.Second)))
				}
				readers.Wait()
			})
		})
	}
}

func TestHeadOfAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := told(t)
		f.show = ringing
		start := time.Now()
		w := ask(t, newHandler(t, f, testConfig()), "HEAD", live, "")
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/event-stream" || time.Since(start) != 0 {
			t.Errorf("%d %s after %s", w.Code, w.Header().Get("Content-Type"), time.Since(start))
		}
	})
}

// A database that is away for a moment signs nobody out, and a page that is left open keeps no
// session.
func TestAStreamOfASession(t *testing.T) {
	f := told(t)
	config := rolesConfig()
	store := config.SignIn.Store.(*sessionStore)
	cookie := signInAs(t, newHandler(t, f, config), bell.Viewer)
	synctest.Test(t, func(t *testing.T) {
		shown := 0
		f.show = func(ctx context.Context, e planet.Environment, id planet.SessionID) (call.Record, error) {
			if shown++; shown > 1 {
				return storyOfMissedCall(), nil
			}
			store.failing.Store(1)
			return ringing(ctx, e, id)
		}
		start := time.Now()
		config.Now = func() time.Time { return noon.Add(time.Hour).Add(time.Since(start)) }
		h := newHandler(t, f, config)
		session := func(r *http.Request) {
			r.Header.Del("Authorization")
			r.AddCookie(cookie)
		}
		text := ask(t, h, "GET", live, "", session).Body.String()
		if shown != 2 || strings.Count(text, `id="fall"`) != 2 || !strings.HasSuffix(text, "event: over\ndata: \n\n") {
			t.Errorf("asked %d times; the stream ends with %q", shown, text[max(0, len(text)-200):])
		}
		ask(t, h, "GET", "/", "", session, header("HX-Request", "true"))
		if n := store.touched.Load(); n != 0 {
			t.Errorf("a page that was left open kept the session %d times", n)
		}
		ask(t, h, "GET", "/", "", session)
		if n := store.touched.Load(); n != 1 {
			t.Errorf("somebody who opened a page kept the session %d times", n)
		}
	})
}

// What another app wrote into a call ends no line of a stream: a client reads a lone CR as the end
// of one.
func TestAStreamKeepsItsLines(t *testing.T) {
	f := told(t)
	f.show = func(context.Context, planet.Environment, planet.SessionID) (call.Record, error) {
		record := storyOfMissedCall()
		record.Call.Release.UserCode = "busy\revent: over\rdata: gone\r\r\r\n\rend"
		return record, nil
	}
	body := ask(t, newHandler(t, f, testConfig()), "GET", live, "").Body.String()
	if strings.Contains(body, "\r") {
		t.Error("the stream has a CR")
	}
	var shown strings.Builder
	for line := range strings.Lines(strings.TrimSuffix(body, "event: over\ndata: \n\n")) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok && line != "\n" {
			t.Errorf("the stream has the line %q", line)
		}
		shown.WriteString(data)
	}
	if !strings.Contains(shown.String(), "busy\nevent: over\ndata: gone\n") || !strings.Contains(shown.String(), "end") {
		t.Errorf("the text is not whole: %q", shown.String())
	}
}
