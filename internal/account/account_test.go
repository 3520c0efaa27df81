package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim/clients"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDisk = errors.New("the disk is full")

func TestWhoMayTakeAUserID(t *testing.T) {
	tests := []struct {
		name   string
		device bool          // the first session has one
		pause  time.Duration // until the second sign-up
		change func(o *office, in *SignUp, first bell.Identity)
		taken  bool
		old    bool // the first token still works after it
	}{
		{"at once, without a device", false, 0, nil, true, true},
		{"within the grace, without a device", false, firstDeviceGrace - time.Second, nil, true, true},
		{"after the grace, without a device", false, firstDeviceGrace, nil, false, false},
		{"after the grace, with a device", true, 59 * time.Minute, nil, true, true},
		{"when the first token has expired", true, time.Hour, nil, false, false},
		{"with the token of the same user", true, time.Minute, func(_ *office, in *SignUp, first bell.Identity) { in.Current = &first }, false, true},
		{"with the token of another user", true, time.Minute, func(_ *office, in *SignUp, first bell.Identity) {
			first.Owner.User.UserID = "mallory"
			in.Current = &first
		}, true, true},
		{"with the token of the same name elsewhere", true, time.Minute, func(_ *office, in *SignUp, first bell.Identity) {
			first.Owner.Environment = planet.Real
			in.Current = &first
		}, true, true},
		{"the same name in another letter case is another user", true, 0, func(_ *office, in *SignUp, _ bell.Identity) { in.UserID = "BOB" }, false, true},
		{"the same name in another project", true, 0, func(o *office, in *SignUp, _ bell.Identity) { *in = wish(o.shared, "bob") }, false, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t)
				first := o.signUp(t, wish(o.acme, "bob"))
				identity := o.authenticate(t, first)
				if test.device {
					o.store.addDevice(t, first)
				}
				<-time.After(test.pause)
				in := wish(o.acme, "bob")
				if test.change != nil {
					test.change(o, &in, identity)
				}
				_, err := o.SignUp(t.Context(), in)
				if test.taken != errors.Is(err, bell.Taken) || !test.taken && err != nil {
					t.Errorf("error %v", err)
				}
				if _, err := o.Authenticate(t.Context(), first); test.old != (err == nil) || err != nil && bell.KindOf(err) != bell.Unauthorized {
					t.Errorf("the first token: %v", err)
				}
			})
		})
	}
}

func TestSharedUserIDsAreForEverybody(t *testing.T) {
	o := newOffice(t)
	var tokens []planet.Secret
	for range 3 {
		token := o.signUp(t, wish(o.shared, "bob"))
		o.store.addDevice(t, token)
		tokens = append(tokens, token)
	}
	sessions := map[string]bool{}
	for _, token := range tokens {
		sessions[o.authenticate(t, token).SessionID] = true
	}
	if len(sessions) != 3 || len(o.store.devices) != 3 {
		t.Errorf("%d sessions, %d devices", len(sessions), len(o.store.devices))
	}
}

func TestSignUpTellsTheStoreTheRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		<-time.After(1500 * time.Millisecond)
		now := time.Now()
		token := o.signUp(t, wish(o.acme, "bob"))
		id := o.authenticate(t, token)
		again := wish(o.acme, "bob")
		again.Current = &id
		o.signUp(t, again)
		o.signUp(t, wish(o.shared, "bob"))
		rule := func(exclusive bool) SessionRule {
			return SessionRule{Now: now, Exclusive: exclusive, FreeIssuedBefore: now.Add(-30 * time.Second)}
		}
		if diff := cmp.Diff([]SessionRule{rule(true), rule(false), rule(false)}, o.store.rules); diff != "" {
			t.Error(diff)
		}
		issued := now.Truncate(time.Second)
		want := bell.Session{ID: id.SessionID, Owner: id.Owner, Project: "acme", IssuedAt: issued, ExpiresAt: issued.Add(time.Hour)}
		if diff := cmp.Diff(want, o.store.sessions[id.SessionID]); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSignUpRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(o *office, in *SignUp)
		want   bell.Kind
	}{
		{"a wrong client key", func(_ *office, in *SignUp) { in.ClientKey += "x" }, bell.Unauthorized},
		{"no client key", func(_ *office, in *SignUp) { in.ClientKey = "" }, bell.Unauthorized},
		{"the API secret as client key", func(o *office, in *SignUp) { in.ClientKey = o.acme.APISecret }, bell.Unauthorized},
		{"the key of another project", func(o *office, in *SignUp) { in.ClientKey = o.shared.ClientKey }, bell.Unauthorized},
		{"an unknown service", func(_ *office, in *SignUp) { in.ServiceID = "svc" }, bell.Unauthorized},
		{"no user ID", func(_ *office, in *SignUp) { in.UserID = "" }, bell.Invalid},
		{"an impossible user ID", func(_ *office, in *SignUp) { in.UserID = "bob smith" }, bell.Invalid},
		{"a long user ID", func(_ *office, in *SignUp) { in.UserID = strings.Repeat("b", 65) }, bell.Invalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := newOffice(t)
			in := wish(o.acme, "bob")
			test.change(o, &in)
			token, err := o.SignUp(t.Context(), in)
			if bell.KindOf(err) != test.want || token != "" || len(o.store.sessions) != 0 {
				t.Fatalf("token %q, error %v", token, err)
			}
			checkNoSecret(t, err)
		})
	}
}

func checkNoSecret(t *testing.T, err error) {
	t.Helper()
	testlog.Keep(t, "error", err.Error())
	for _, secret := range []string{testlog.Hex, testlog.Text, "eyJ"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func TestSignUpKeepsWhatTheClientSaysInBounds(t *testing.T) {
	o := newOffice(t)
	in := wish(o.acme, "bob")
	in.DisplayName, in.Region = strings.Repeat("名", 100), strings.Repeat("r", 1000)
	owner := o.authenticate(t, o.signUp(t, in)).Owner
	user := o.store.users[owner]
	if user.DisplayName != strings.Repeat("名", 42) || len(user.Region) != bell.MaxText {
		t.Errorf("user: %+v", user)
	}
}

func TestManyWantTheSameName(t *testing.T) {
	o := newOffice(t)
	var mu sync.Mutex
	var won int
	var work sync.WaitGroup
	for range 20 {
		work.Go(func() {
			_, err := o.SignUp(t.Context(), wish(o.acme, "bob"))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, bell.Taken) {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if won != 1 {
		t.Errorf("%d clients have the same name", won)
	}
}

func TestStoreFailuresAreNotTheClientsFault(t *testing.T) {
	o := newOffice(t)
	token := o.signUp(t, wish(o.acme, "bob"))
	id := o.authenticate(t, token)
	o.store.fail = errDisk
	_, signUp := o.SignUp(t.Context(), wish(o.acme, "carol"))
	_, authenticate := o.Authenticate(t.Context(), token)
	for name, err := range map[string]error{"sign up": signUp, "authenticate": authenticate} {
		if !errors.Is(err, errDisk) || bell.KindOf(err) != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The Windows demo wipes its user at any failure of this one.
	if _, err := o.AccessToken(t.Context(), id); err != nil {
		t.Errorf("access token without a database: %v", err)
	}
}

func TestLostSessionIsRestored(t *testing.T) {
	o := newOffice(t)
	token := o.signUp(t, wish(o.acme, "bob"))
	before := o.authenticate(t, token)
	session := o.store.sessions[before.SessionID]
	clear(o.store.sessions)
	clear(o.store.users)
	if diff := cmp.Diff(before, o.authenticate(t, token)); diff != "" {
		t.Error(diff)
	}
	got := o.store.sessions[before.SessionID]
	if got.ID != session.ID || got.Owner != session.Owner || got.Project != "acme" || !got.ExpiresAt.Equal(session.ExpiresAt) {
		t.Errorf("restored: %+v", got)
	}
	if len(o.store.users) != 1 {
		t.Errorf("users: %v", o.store.users)
	}
}

func TestRevokedAndForeignTokens(t *testing.T) {
	o := newOffice(t)
	token := o.signUp(t, wish(o.acme, "bob"))
	id := o.authenticate(t, token)
	moved, renamed := *o.acme, *o.acme
	moved.Environment, renamed.Name = planet.Real, "new name"
	for name, s := range map[string]*Service{
		"project gone":                   o.serve(t, signingKey, o.shared),
		"project renamed":                o.serve(t, signingKey, &renamed),
		"project in another environment": o.serve(t, signingKey, &moved),
		"another signing key":            o.serve(t, signingKey+"x", o.acme),
	} {
		if _, err := s.Authenticate(t.Context(), token); bell.KindOf(err) != bell.Unauthorized {
			t.Errorf("%s: %v", name, err)
		} else {
			checkNoSecret(t, err)
		}
	}
	session := o.store.sessions[id.SessionID]
	session.RevokedAt = time.Now()
	o.store.sessions[id.SessionID] = session
	if _, err := o.Authenticate(t.Context(), token); bell.KindOf(err) != bell.Unauthorized {
		t.Errorf("revoked: %v", err)
	}
}

// The four official apps decode the app token by hand, each in its own strict way.
func TestEveryOfficialAppReadsTheAppToken(t *testing.T) {
	o := newOffice(t)
	token := o.signUp(t, wish(o.acme, "bob"))
	body, err := json.Marshal(map[string]any{
		"status": "success", "timestamp": 1, "data": map[string]string{"accessToken": token.Reveal()},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, app := range clients.All() {
		got, err := app.Register(clients.Answer{Status: 200, Body: body})
		if err != nil {
			t.Errorf("%s: %v", app.Name(), err)
			continue
		}
		if want := o.authenticate(t, token).ExpiresAt; !got.Expires.Equal(want) || got.AppToken != token.Reveal() {
			t.Errorf("%s stops at %v, want %v", app.Name(), got.Expires, want)
		}
	}
	claims := claimsOf(t, token)
	want := []string{"aud", "env", "exp", "iat", "iss", "jti", "prj", "sub", "svc", "uid"}
	if got := slices.Sorted(maps.Keys(claims)); !slices.Equal(got, want) {
		t.Errorf("claims %v, want %v", got, want)
	}
	if claims["sub"] != "bob" || claims["uid"] != "bob" || claims["exp"].(float64)-claims["iat"].(float64) != 3600 {
		t.Errorf("claims: %v", claims)
	}
	if got := string(part(t, token, 0)); got != `{"alg":"HS256","typ":"JWT"}` {
		t.Errorf("header %s", got)
	}
}

func TestAccessToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.acme.IssuedAtSkew = 2 * time.Second
		id := o.authenticate(t, o.signUp(t, wish(o.acme, "bob")))
		for range 2 { // made anew each time
			<-time.After(1600 * time.Millisecond)
			token, err := o.AccessToken(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf(`{"sub":"svc-acme","uid":"bob","iss":"key-acme","iat":%d}`, time.Now().Add(-2*time.Second).Unix())
			if got := string(part(t, token, 1)); got != want {
				t.Errorf("claims %s, want %s", got, want)
			}
			if got := string(part(t, token, 0)); got != `{"typ":"JWT","alg":"HS256"}` {
				t.Errorf("header %s", got)
			}
			signed := token.Reveal()[:strings.LastIndex(token.Reveal(), ".")]
			if string(part(t, token, 2)) != string(sign(signed, o.acme.APISecret.Reveal())) {
				t.Error("not signed with the API secret")
			}
			if _, err := o.Authenticate(t.Context(), token); bell.KindOf(err) != bell.Unauthorized {
				t.Errorf("it opened this server: %v", err)
			}
		}
		minted, err := o.MintFor(t.Context(), o.acme, "alice")
		if err != nil || claimsOf(t, minted)["uid"] != "alice" {
			t.Errorf("minted for %v, error %v", claimsOf(t, minted)["uid"], err)
		}
		if _, err := o.MintFor(t.Context(), o.acme, "a b"); bell.KindOf(err) != bell.Invalid {
			t.Errorf("minted for an impossible user: %v", err)
		}
		o.acme.APISecret = ""
		if _, err := o.AccessToken(t.Context(), id); err == nil || !strings.Contains(err.Error(), "project acme") {
			t.Errorf("issued without an API secret: %v", err)
		} else {
			checkNoSecret(t, err)
		}
	})
}

func TestShortSigningKeyIsRefused(t *testing.T) {
	short := planet.Secret(testlog.TextSecret(strings.Repeat("k", 31-len(testlog.TextSecret("")))))
	if _, err := New(Config{SigningKey: short}); err == nil || len(short) != 31 {
		t.Errorf("a key of %d bytes: %v", len(short), err)
	} else {
		checkNoSecret(t, err)
	}
	if _, err := New(Config{SigningKey: short + "k"}); err != nil {
		t.Error(err)
	}
}

// While the database is away a good signature is enough: a refusal would make LINE's
// Windows client forget its user. A forged token is refused all the same.
func TestAuthenticateWithoutDatabase(t *testing.T) {
	away := bell.E(bell.Unavailable, "The database is closed.", nil)
	for name, cut := range map[string]func(*fakeStore){
		"the session cannot be looked up": func(s *fakeStore) { s.fail = away },
		"the session cannot be restored":  func(s *fakeStore) { clear(s.sessions); s.failing = away },
	} {
		o := newOffice(t)
		token, err := o.SignUp(t.Context(), SignUp{UserID: "bob", ServiceID: o.acme.ServiceID, ClientKey: o.acme.ClientKey})
		if err != nil {
			t.Fatal(err)
		}
		cut(o.store)
		id, err := o.Authenticate(t.Context(), token)
		if err != nil || id.Owner.User.UserID != "bob" {
			t.Errorf("%s: %v, %v; want bob", name, id.Owner, err)
		}
		if _, err := o.Authenticate(t.Context(), token+"x"); !errors.Is(err, bell.Unauthorized) {
			t.Errorf("%s: a forged token gives %v", name, err)
		}
	}
	o := newOffice(t)
	token, err := o.SignUp(t.Context(), SignUp{UserID: "bob", ServiceID: o.acme.ServiceID, ClientKey: o.acme.ClientKey})
	if err != nil {
		t.Fatal(err)
	}
	clear(o.store.sessions)
	o.store.failing = errDisk // not a passing trouble
	if _, err := o.Authenticate(t.Context(), token); !errors.Is(err, errDisk) {
		t.Errorf("a session that cannot be written gives %v", err)
	}
}
