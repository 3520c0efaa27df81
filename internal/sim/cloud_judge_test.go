package sim

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestVerifyJudges(t *testing.T) {
	r := newCloudRig(t, CloudOptions{})
	call := r.place(Plan{})
	r.next()
	cc := call.CCParam().Reveal()
	for name, bad := range map[string]string{
		"plus to space": strings.ReplaceAll(cc, "+", " "), "trimmed": strings.TrimRight(cc, "=") + "x",
		"escaped": url.QueryEscape(cc), "empty": "", "base64url": strings.NewReplacer("+", "-", "/", "_").Replace(cc),
	} {
		if _, err := r.Verify("one", bob, bad); !errors.Is(err, ErrDecodeCallParam) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Verify("hers", alice, cc); !errors.Is(err, ErrNotCallee) {
		t.Errorf("the caller's phone: %v", err)
	}
	r.verify("one", call)
	if _, err := r.Verify("one", bob, cc); !errors.Is(err, ErrVerifiedTwice) {
		t.Errorf("the same phone again: %v", err)
	}
	if got := call.Report().Legs[0].Verifications; got != 2 {
		t.Errorf("%d verifications, want 2", got)
	}
	call.Hangup()
	r.end(call)
}

func TestDuplicates(t *testing.T) {
	r := newCloudRig(t, CloudOptions{})
	call := r.place(Plan{Kind: PlanCanceled, After: time.Second, Duplicates: 9, UpperCase: true})
	upper := 0
	for range 10 {
		v := r.next().values(t)
		if v.Get("sid") == strings.ToUpper(string(call.SessionID())) {
			upper++
		}
		n, err := planet.ParseNotify(v)
		if err != nil || n.SessionID != call.SessionID() || n.CCParam != call.CCParam() {
			t.Errorf("%v", err)
		}
	}
	if upper != 9 {
		t.Errorf("%d in upper case, want 9", upper)
	}
	r.pass(time.Second)
	if rep := r.end(call); len(rep.Notifies) != 10 {
		t.Errorf("%d notifies", len(rep.Notifies))
	}
}

func TestSharesOfDisorder(t *testing.T) {
	r := newCloudRig(t, CloudOptions{DuplicateShare: 1})
	rep := r.end(r.place(Plan{Kind: PlanBusy}))
	if len(rep.Events) != 2 {
		t.Errorf("%d Call Events, want 2", len(rep.Events))
	}
	slow := newCloudRig(t, CloudOptions{ReorderShare: 1, ReorderDelay: time.Second, Seed: 7})
	call := slow.place(Plan{Kind: PlanBusy})
	same := rand.New(rand.NewPCG(7, 7)) // the seed decides: first whether, then how long
	same.Float64()
	delay := time.Duration(same.Int64N(int64(time.Second) + 1))
	slow.pass(delay)
	if at := slow.end(call).Events[0].SentAt; !at.Equal(testNow.Add(delay)) {
		t.Errorf("sent at %v, want %v later", at, delay)
	}
}

func TestEditedCallbacks(t *testing.T) {
	drop := func(name string) func([]planet.RawParam) []planet.RawParam {
		return func(all []planet.RawParam) []planet.RawParam {
			var out []planet.RawParam
			for _, p := range all {
				if p.Name != name {
					out = append(out, p)
				}
			}
			return out
		}
	}
	r := newCloudRig(t, CloudOptions{})
	call := r.place(Plan{
		EditNotify: drop("type"), EditEvent: drop("disconnect_reason"),
		EditQuery: func(q string) string { return strings.ReplaceAll(q, "%2B", "+") },
	})
	h := r.next()
	if v := h.values(t); v.Has("type") || !strings.Contains(h.query, "+") || !strings.Contains(v.Get("param"), " ") {
		t.Error("the Notify was not edited")
	}
	call.Hangup()
	if v := r.next().values(t); v.Has("disconnect_reason") {
		t.Error("the Call Event was not edited")
	}
	r.end(call)
}

func TestPlaceRefuses(t *testing.T) {
	r := newCloudRig(t, CloudOptions{})
	stranger := planet.UserRef{ServiceID: "other", UserID: "x"}
	for name, q := range map[string]CallRequest{
		"unknown plan":    {Caller: alice, Callee: bob, Plan: Plan{Kind: "sung"}},
		"negative time":   {Caller: alice, Callee: bob, Plan: Plan{After: -1}},
		"unknown service": {Caller: stranger, Callee: bob},
	} {
		if _, err := r.Place(q); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if err := r.AddProject(Project{ServiceID: "x", CallbackURL: "ftp://x"}); err == nil {
		t.Error("an ftp callback is accepted")
	}
	r.Close()
	if _, err := r.Run(testContext(t), CallRequest{Caller: alice, Callee: bob}); err == nil {
		t.Error("a closed cloud places calls")
	}
}

func TestCloseEndsCalls(t *testing.T) {
	r := newCloudRig(t, CloudOptions{})
	call := r.place(Plan{})
	r.next()
	leg := r.verify("one", call)
	r.Close()
	<-leg.Done()
	if rep := r.end(call); len(rep.Events) != 0 {
		t.Errorf("%+v", rep)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	r := newCloudRig(t, CloudOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Run(ctx, CallRequest{Caller: alice, Callee: bob}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	rep, err := r.Run(testContext(t), CallRequest{Caller: alice, Callee: bob, Plan: Plan{Kind: PlanBusy}})
	if err != nil || rep.Reason != "BUSY" {
		t.Errorf("%+v, %v", rep, err)
	}
}

func TestCloudForgetsOldCalls(t *testing.T) {
	r := newCloudRig(t, CloudOptions{Recent: 2})
	var last *Call
	for range 20 {
		last = r.place(Plan{Kind: PlanBusy})
		r.end(last)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.calls) > 4 || len(r.order) > 4 || r.calls[last.ccParam] == nil {
		t.Errorf("%d calls and %d names are kept", len(r.calls), len(r.order))
	}
}

func TestRoom(t *testing.T) {
	r := newCloudRig(t, CloudOptions{})
	ctx := testContext(t)
	ref := planet.RoomRef{ServiceID: "svc", RoomID: "room"}
	room, cb, err := r.OpenRoom(ctx, ref, Participant{User: alice, DisplayName: "Alice", AppServerData: "d"}, planet.VideoCall)
	if err != nil || !cb.OK() {
		t.Fatalf("%+v %v", cb, err)
	}
	step := func(cb Callback, err error) {
		t.Helper()
		if err != nil || !cb.OK() {
			t.Fatalf("%+v, %v", cb, err)
		}
		r.clock.Advance(time.Second)
	}
	r.clock.Advance(time.Second)
	step(room.Join(ctx, Participant{User: bob, UEType: "IOS"}), nil)
	step(room.ChangeMedia(ctx, bob))
	step(room.TimeOut(ctx, bob))
	step(room.Leave(ctx, alice))
	type row struct {
		Status planet.RoomStatus
		What   planet.ParticipantStatus
		User   string
		Online int
		Ended  bool
		Reason int
	}
	var got []row
	for range 5 {
		e, err := planet.ParseGroupCallEvent(r.next().values(t))
		if err != nil {
			t.Fatal(err)
		}
		if e.SessionID != room.SessionID() || e.Room != ref || e.Host != alice || e.MediaType != planet.VideoCall || len(e.SessionID) != 32 {
			t.Errorf("%+v", e)
		}
		x := row{e.Status, e.ParticipantStatus, e.Participant.UserID, *e.Online, !e.EndTime.IsZero(), 0}
		if e.Release.DisconnectReason != nil {
			x.Reason = *e.Release.DisconnectReason
		}
		got = append(got, x)
	}
	want := []row{
		{"S", "C", "alice", 1, false, 0},
		{"C", "C", "bob", 2, false, 0},
		{"C", "M", "bob", 2, false, 0},
		{"C", "T", "bob", 1, false, 1301},
		{"E", "D", "alice", 0, true, 1001},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, f := range []func(context.Context, planet.UserRef) (Callback, error){room.Leave, room.ChangeMedia} {
		if _, err := f(ctx, bob); err == nil {
			t.Error("somebody who is not there can act")
		}
	}
	again, _, err := r.OpenRoom(ctx, ref, Participant{User: alice}, planet.AudioCall)
	if err != nil || again.SessionID() == room.SessionID() {
		t.Errorf("the second run: %v", err)
	}
	step(again.End(ctx), nil)
	if _, _, err := r.OpenRoom(ctx, planet.RoomRef{ServiceID: "x"}, Participant{}, "A"); err == nil {
		t.Error("a room of an unknown service opens")
	}
}

func TestAgentStatus(t *testing.T) {
	r := newCloudRig(t, CloudOptions{})
	for _, want := range []planet.AgentCallStatus{
		{SessionID: planet.SessionID(newUUID()), AgentType: "AUDIO_CALLER", MediaSourceType: "STORED_SOURCE", Success: true},
		{SessionID: planet.SessionID(newUUID()), AgentType: "AUDIO_CALLER", MediaSourceType: "STORED_SOURCE", FailReason: "Invalid peerId"},
	} {
		if cb, err := r.SendAgentStatus(testContext(t), "svc", want); err != nil || !cb.OK() {
			t.Fatalf("%+v %v", cb, err)
		}
		got, err := planet.ParseAgentCallStatus(r.next().values(t))
		got.Raw = nil
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
	if _, err := r.SendAgentStatus(testContext(t), "x", planet.AgentCallStatus{}); err == nil {
		t.Error("an unknown service is accepted")
	}
}

// hs256 signs a token with any claims, as LINE Planet wants it signed.
func hs256(secret string, claims map[string]any) planet.Secret {
	unsigned := compact(map[string]any{"alg": "HS256", "typ": "JWT"}, claims, func([]byte) []byte { return nil })
	unsigned = strings.TrimSuffix(unsigned, ".")
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(unsigned))
	return planet.Secret(unsigned + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
}

func TestAccessTokenOfCaller(t *testing.T) {
	key, secret := "api-key", testlog.HexSecret(3, 64)
	p := Project{ServiceID: "svc", APIKey: key, APISecret: planet.Secret(secret)}
	issue := func(iss, secret, service, user string, at time.Time) planet.Secret {
		tok, err := planet.AccessTokenIssuer{ServiceID: service, APIKey: iss, APISecret: planet.Secret(secret)}.Issue(user, at)
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	none := func([]byte) []byte { return []byte("x") }
	good := map[string]any{"sub": "svc", "uid": "alice", "iss": key, "iat": testNow.Unix()}
	tests := []struct {
		name  string
		token planet.Secret
		ok    bool
	}{
		{"good", issue(key, secret, "svc", "alice", testNow), true},
		{"none", "", true},
		{"other secret", issue(key, testlog.HexSecret(4, 64), "svc", "alice", testNow), false},
		{"other key", issue("other", secret, "svc", "alice", testNow), false},
		{"other user", issue(key, secret, "svc", "bob", testNow), false},
		{"other service", issue(key, secret, "svc2", "alice", testNow), false},
		{"stale", issue(key, secret, "svc", "alice", testNow.Add(-time.Hour)), false},
		{"ahead", issue(key, secret, "svc", "alice", testNow.Add(time.Hour)), false},
		{"good by hand", hs256(secret, good), true},
		{"one claim more", hs256(secret, with(good, map[string]any{"exp": testNow.Unix() + 60})), false},
		{"iat with a fraction", hs256(secret, with(good, map[string]any{"iat": 1.5})), false},
		{"two parts", "a.b", false},
		{"alg none", planet.Secret(compact(map[string]any{"alg": "none", "typ": "JWT"}, good, none)), false},
		{"signature", planet.Secret(compact(map[string]any{"alg": "HS256", "typ": "JWT"}, good, none)), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := p.checkAccess(tt.token, alice, testNow)
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrAccessToken) {
				t.Errorf("error %v", err)
			}
		})
	}
	r := newCloudRig(t, CloudOptions{})
	if err := r.AddProject(Project{ServiceID: "svc", CallbackURL: "http://127.0.0.1:1", APIKey: key, APISecret: planet.Secret(secret)}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Place(CallRequest{Caller: alice, Callee: bob, AccessToken: "bad"}); !errors.Is(err, ErrAccessToken) {
		t.Errorf("placed with a bad token: %v", err)
	}
}
