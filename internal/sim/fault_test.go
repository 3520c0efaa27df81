package sim

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestFaultsThatCannotBe checks that each impossible fault is refused with what is
// possible.
func TestFaultsThatCannotBe(t *testing.T) {
	r, f := newAPNsRig(t, APNsOptions{}), newFCMRig(t, FCMOptions{})
	for _, c := range []struct {
		faults *Faults
		fault  Fault
		says   []string
	}{
		{r.Faults(), Fault{Kind: "flood"}, []string{`"flood"`, "goaway-refuse", "silence", "shutdown"}},
		{r.Faults(), Fault{}, []string{`""`, "slow"}},
		{r.Faults(), Fault{Kind: FaultRevoked}, []string{"of this target"}},
		{f.Faults(), Fault{Kind: FaultShortToken}, []string{"of this target", "unauthorized"}},
		{f.Faults(), Fault{Kind: FaultShutdown}, []string{"of this target"}},
		{f.TokenFaults(), Fault{Kind: FaultUnauthorized}, []string{"revoked"}},
		{r.Faults(), Fault{Kind: FaultRefusedStream, Deliver: true}, []string{`"deliver"`, "target, count, share, for, delay"}},
		{r.Faults(), Fault{Kind: FaultGoAwayRefuse, Deliver: true}, []string{`"deliver"`}},
		{r.Faults(), Fault{Kind: FaultHang, Scope: ScopeNew}, []string{`"scope"`}},
		{r.Faults(), Fault{Kind: FaultTLSStall, Scope: ScopeOpen}, []string{`"scope"`}},
		{r.Faults(), Fault{Kind: FaultSilence, Delay: 1}, []string{`"delay"`, "scope"}},
		{r.Faults(), Fault{Kind: FaultSilence, Scope: "some"}, []string{`"some"`, `"open"`}},
		{r.Faults(), Fault{Kind: FaultSilence, Scope: ScopeOpen, For: time.Second}, []string{"stays so"}},
		{r.Faults(), Fault{Kind: FaultRefuse, Count: 1}, []string{`"for"`}},
		{r.Faults(), Fault{Kind: FaultRefuse, Share: 0.5}, []string{`"for"`}},
		{r.Faults(), Fault{Kind: FaultSlow}, []string{`"delay"`}},
		{r.Faults(), Fault{Kind: FaultSlow, Delay: 2 * time.Hour}, []string{"1h"}},
		{r.Faults(), Fault{Kind: FaultHang, For: -1}, []string{"for"}},
		{r.Faults(), Fault{Kind: FaultHang, Count: -1}, []string{"negative"}},
		{r.Faults(), Fault{Kind: FaultHang, Share: 1.1}, []string{"from 0 to 1"}},
		{r.Faults(), Fault{Kind: FaultHang, Share: -0.1}, []string{"from 0 to 1"}},
		{r.Faults(), Fault{Kind: FaultDrip, Status: 99}, []string{"200 to 599"}},
		{r.Faults(), Fault{Kind: FaultDrip, Status: -1}, []string{"200 to 599"}},
		{r.Faults(), Fault{Kind: FaultAnswer, Answer: Answer{Status: 600}}, []string{"200 to 599"}},
		{r.Faults(), Fault{Kind: FaultAnswer, Answer: Answer{Body: "x"}}, []string{"status"}},
		{r.Faults(), Fault{Kind: FaultTooMany, RetryAfter: "1", RetryDate: time.Second}, []string{"retry_date"}},
		{f.TokenFaults(), Fault{Kind: FaultShortToken, ExpiresIn: time.Millisecond}, []string{"whole seconds"}},
		{r.Faults(), Fault{Kind: FaultStreams, Streams: 1001}, []string{"1 to 1000"}},
		{r.Faults(), Fault{Kind: FaultStreams, Streams: -1}, []string{"1 to 1000"}},
	} {
		err := c.faults.Add(c.fault)
		for _, word := range c.says {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%+v: %v, want %q", c.fault, err, word)
			}
		}
	}
	for range maxFaults {
		if err := r.Faults().Add(Fault{Kind: FaultHang}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Faults().Add(Fault{Kind: FaultHang}); err == nil {
		t.Error("a hundred and first fault is taken")
	}
}

// TestShares checks that a share is about what it says, and the same for the same seed.
func TestShares(t *testing.T) {
	draw := func(seed uint64, target string) string {
		f := newFaults(providerAPNs, target, seed, SystemClock{}, nil)
		if err := f.Add(Fault{Kind: FaultHang, Share: 0.05}); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for range 2000 {
			if f.pick() == nil {
				b.WriteByte('.')
				continue
			}
			b.WriteByte('x')
		}
		return b.String()
	}
	one := draw(1, "apns-sandbox")
	if n := strings.Count(one, "x"); n < 60 || n > 140 {
		t.Errorf("5 %% of 2000 are %d", n)
	}
	if one != draw(1, "apns-sandbox") {
		t.Error("the same seed draws something else")
	}
	if one == draw(2, "apns-sandbox") || one == draw(1, "apns-production") {
		t.Error("another seed or target draws the same")
	}
}

// TestSeveralFaults checks order, counts and what is told of them.
func TestSeveralFaults(t *testing.T) {
	f := newFaults(providerAPNs, "apns-sandbox", 1, SystemClock{}, nil)
	for _, x := range []Fault{
		{Kind: FaultNoPing}, {Kind: FaultUnavailable, Count: 2}, {Kind: FaultTooMany, Count: 1}, {Kind: FaultHang},
	} {
		if err := f.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	var got []FaultKind
	for range 3 {
		got = append(got, f.pick().Kind)
	}
	if diff := cmp.Diff([]FaultKind{FaultUnavailable, FaultUnavailable, FaultTooMany}, got); diff != "" {
		t.Error(diff)
	}
	if a := f.pick(); a.Kind != FaultHang {
		t.Errorf("%+v", a)
	}
	if diff := cmp.Diff([]FaultState{{Kind: FaultNoPing}, {Kind: FaultHang, Struck: 1}}, f.Active()); diff != "" {
		t.Error(diff)
	}
	f.Clear(FaultHang)
	if a := f.pick(); a != nil {
		t.Errorf("%+v", a)
	}
	f.Clear()
	if diff := cmp.Diff([]FaultState{}, f.Active()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[FaultKind]uint64{FaultUnavailable: 2, FaultTooMany: 1, FaultHang: 1}, f.Struck()); diff != "" {
		t.Error(diff)
	}
}

// TestEveryKindIsPossible checks the table: each kind is taken by a provider, with each
// of its fields, through the control port.
func TestEveryKindIsPossible(t *testing.T) {
	w, _ := newTestWorld(t)
	values := map[string]string{
		"delay": `"1s"`, "deliver": "true", "status": "500", "reason": `"x"`, "retry_after": `"1"`, "retry_date": `"5s"`,
		"expires_in": `"5s"`, "streams": "1", "scope": `"new"`, "html": "true", "hang": "true", "close": "true",
		"goaway": "true", "header": `{"x":"y"}`,
	}
	for _, k := range FaultKinds() {
		if k.Means == "" {
			t.Errorf("%s means nothing", k.Kind)
		}
		possible := 0
		for _, target := range FaultTargets() {
			bodies := []string{fmt.Sprintf(`{"target":%q,"kind":%q,"delay":"1s","for":"1m"}`, target, k.Kind)}
			for _, field := range strings.Fields(k.Fields) {
				if values[field] == "" {
					t.Fatalf("%s has a field %q", k.Kind, field)
				}
				body := fmt.Sprintf(`{"target":%q,"kind":%q,%q:%s`, target, k.Kind, field, values[field])
				if field == "html" {
					body += `,"status":502`
				}
				bodies = append(bodies, body+"}")
			}
			if !strings.Contains(k.Fields, "delay") {
				bodies[0] = strings.Replace(bodies[0], `"delay":"1s",`, "", 1)
			}
			for _, body := range bodies {
				a := ctl(t, w, "POST", "/faults", body)
				switch {
				case a.status == 200:
					possible++
				case k.Kind == FaultSlow && !strings.Contains(body, "delay"):
				case !strings.Contains(a.body, "of this target"):
					t.Errorf("%s: %+v", body, a)
				}
				w.ClearFaults()
			}
		}
		if possible == 0 {
			t.Errorf("%s is possible nowhere", k.Kind)
		}
	}
}

func TestControlOfFaults(t *testing.T) {
	w, _ := newTestWorld(t)
	post := func(body string, status int, says string) {
		t.Helper()
		if a := ctl(t, w, "POST", "/faults", body); a.status != status || !strings.Contains(a.body, says) {
			t.Errorf("%s: %+v", body, a)
		}
	}
	post(`{"target":"fcm","kind":"unavailable","count":3,"retry_after":"2"}`, 200, "")
	post(`{"target":"fcm","kind":"stream-error","share":0.05}`, 200, "")
	post(`{"target":"fcm","status":400}`, 200, "")
	post(`{"target":"fcm","status":401}`, 200, "") // in the place of the one before
	post(`{"target":"oauth","kind":"short-token","expires_in":"5s"}`, 200, "")
	post(`{"target":"fcm","kind":"slowly"}`, 400, "goaway-refuse")
	post(`{"target":"fcm","kind":"hang","html":true}`, 400, "answer")
	post(`{"target":"fcm","html":true}`, 400, "status")
	post(`{"target":"moon","kind":"hang"}`, 400, "apns-production, apns-sandbox, fcm, oauth")
	get := func() string {
		var b strings.Builder
		for target, v := range ctl(t, w, "GET", "/faults", "").json(t) {
			for _, a := range v.(map[string]any)["active"].([]any) {
				fault := a.(map[string]any)
				fmt.Fprintln(&b, target, fault["kind"], fault["left"])
			}
		}
		return b.String()
	}
	send := func() int {
		return mustDo(t, testClientOf(t, w.Settings().CAFile), request(t, "POST", w.FCM.URL()+sendPath, http.Header{}, nil)).status
	}
	if got := send(); got != 503 {
		t.Errorf("answered %d", got)
	}
	if got := get(); strings.Count(got, "\n") != 4 || !strings.Contains(got, "fcm unavailable 2\n") || !strings.Contains(got, "oauth short-token") {
		t.Errorf("active:\n%s", got)
	}
	if a := ctl(t, w, "GET", "/faults", ""); !strings.Contains(a.body, `"struck":{"unavailable":1}`) {
		t.Errorf("%+v", a)
	}
	del := func(query string, status int) {
		t.Helper()
		if a := ctl(t, w, "DELETE", "/faults"+query, ""); a.status != status {
			t.Errorf("%s: %+v", query, a)
		}
	}
	del("?target=fcm&kind=unavailable", 200)
	if got := get(); strings.Contains(got, "unavailable") || strings.Count(got, "\n") != 3 {
		t.Errorf("active:\n%s", got)
	}
	del("?target=fcm", 200)
	if got := get(); !strings.HasPrefix(got, "oauth short-token") {
		t.Errorf("active:\n%s", got)
	}
	del("?kind=short-token", 200)
	if got := get(); got != "" {
		t.Errorf("active:\n%s", got)
	}
	del("?kind=nothing", 400)
	del("?target=moon", 400)
	if err := w.AddFault("moon", Fault{Kind: FaultHang}); err == nil {
		t.Error("the moon hangs")
	}
	if err := w.AddFault("fcm", Fault{Kind: FaultServerError}); err != nil || send() != 500 {
		t.Errorf("%v", err)
	}
}
