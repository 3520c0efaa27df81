package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/sim/clients"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// memory is the smallest store that keeps the contracts of account.Store and
// device.Store, for one goroutine.
type memory struct {
	sessions map[string]bell.Session
	devices  map[string]bell.Device // by session
}

func (m *memory) OpenSession(_ context.Context, _ bell.User, s bell.Session, rule account.SessionRule) error {
	for id, other := range m.sessions {
		if !rule.Exclusive || other.Owner != s.Owner || !other.RevokedAt.IsZero() || !other.ExpiresAt.After(rule.Now) {
			continue
		}
		if _, has := m.devices[id]; has || other.IssuedAt.After(rule.FreeIssuedBefore) {
			return bell.Taken
		}
		other.RevokedAt = rule.Now
		m.sessions[id] = other
	}
	m.sessions[s.ID] = s
	return nil
}

func (m *memory) Session(_ context.Context, id string) (bell.Session, error) {
	if s, ok := m.sessions[id]; ok {
		return s, nil
	}
	return bell.Session{}, bell.NotFound
}

func (m *memory) RestoreSession(_ context.Context, _ bell.User, s bell.Session) error {
	m.sessions[s.ID] = s
	return nil
}

func (m *memory) ChangeDevice(_ context.Context, key device.Key, change func(device.Known) (bell.Device, error)) (bell.Device, error) {
	var known device.Known
	if d, ok := m.devices[key.SessionID]; ok {
		known.OfSession = &d
	}
	next, err := change(known)
	if err == nil {
		m.devices[key.SessionID] = next
	}
	return next, err
}

func (m *memory) AmendDevice(context.Context, string, func(bell.Device) (bell.Device, bool)) error {
	return errors.New("not in these tests")
}

func (m *memory) PruneDevices(context.Context, time.Time, int) ([]bell.Device, error) {
	return nil, errors.New("not in these tests")
}

func (m *memory) DeviceBySession(_ context.Context, sessionID string) (bell.Device, error) {
	if d, ok := m.devices[sessionID]; ok {
		return d, nil
	}
	return bell.Device{}, bell.NotFound
}

func (m *memory) Device(context.Context, string) (bell.Device, error) {
	return bell.Device{}, bell.NotFound
}

func (m *memory) AddDevice(context.Context, bell.Device) error {
	return errors.New("not in these tests")
}
func (m *memory) RemoveDevice(context.Context, string) error { return bell.NotFound }
func (m *memory) DevicesOf(context.Context, bell.Owner) ([]bell.Device, error) {
	return nil, nil
}

func (m *memory) Devices(context.Context, device.Filter, string, int) ([]bell.Device, error) {
	return nil, nil
}

// appServer is a listener with the real account and device services behind it, and
// one of LINE's demo apps before it.
type appServer struct {
	*world
	store *memory
	app   app
}

// app is what one official app sends; see docs/line-planet.md 6.6.
type app struct {
	decoder  clients.Decoder
	channel  bell.Channel // after all is sent
	accept   bool
	jsonType string
	register string
	device   string
	update   string // empty: never sent
	polls    bool
}

func apps() []app {
	const user = `"userId":"alice","serviceId":"` + service + `"`
	key := `"apiKey":"` + clientKey + `"`
	return []app{
		{
			decoder: clients.Web{}, accept: true, jsonType: "application/json",
			register: `{` + user + `,` + key + `}`, // its region is missing where the build did not set it
			device:   `{"appType":"CHROMEOS","appVer":"130.0"}`,
		},
		{
			decoder: clients.Android{}, channel: bell.FCM, accept: true, jsonType: "application/json; charset=UTF-8",
			register: `{` + key + `,` + user + `,"region":"jp"}`,
			device:   `{"appType":"ANDROID","appVer":"6.0.0"}`,
			update:   `{"appType":"ANDROID","appVer":"6.0.0","notificationType":"fcm","notificationToken":"` + pushToken + `"}`,
		},
		{
			decoder: clients.Android{}, channel: bell.LongPoll, accept: true, jsonType: "application/json; charset=UTF-8", polls: true,
			register: `{` + key + `,` + user + `,"region":"jp","displayName":"Alice"}`,
			device:   `{"appType":"ANDROID","appVer":"6.0.0"}`,
			update:   `{"appType":"ANDROID","appVer":"6.0.0","notificationType":"lp","notificationToken":"alice-1b9d6bcd","apnsServer":null}`,
		},
		{
			decoder: clients.Apple{}, channel: bell.APNsVoIP, accept: true, jsonType: "application/json",
			register: `{` + user + `,"region":"JP","displayName":"Alice",` + key + `}`,
			device:   `{"appType":"IOS","appVer":"1.4"}`,
			update:   `{"appType":"IOS","appVer":"1.4","notificationType":"apnsvoip","notificationToken":"` + testlog.HexSecret(3, 64) + `","apnsServer":"developmenet"}`,
		},
		{
			decoder: clients.Apple{}, channel: bell.LongPoll, accept: true, jsonType: "application/json", polls: true,
			register: `{` + user + `,"region":"JP","displayName":"Alice",` + key + `}`,
			device:   `{"appType":"DESKTOPMAC","appVer":"1.4"}`,
			update:   `{"appType":"DESKTOPMAC","appVer":"1.4","notificationType":"lp","notificationToken":"lp","apnsServer":"production"}`,
		},
		{
			decoder: clients.Windows{}, channel: bell.LongPoll, jsonType: "application/json; charset=UTF-8", polls: true,
			register: `{` + user + `,"region":"JP",` + key + `}`,
			device:   `{"appType":"DESKTOPWIN","appVer":"1.0.0"}`,
			update:   `{"appType":"DESKTOPWIN","appVer":"alice","notificationType":"lp","notificationToken":"lp"}`,
		},
	}
}

func newAppServer(t *testing.T, a app) *appServer {
	s := &appServer{world: newWorld(t), app: a}
	s.project.APIKey, s.project.APISecret = "line-api-key", planet.Secret(testlog.HexSecret(4, 64))
	s.loseData()
	return s
}

// loseData starts the server anew on an empty store.
func (s *appServer) loseData() {
	s.store = &memory{sessions: map[string]bell.Session{}, devices: map[string]bell.Device{}}
	projects, err := bell.NewProjects([]*bell.Project{s.project})
	if err != nil {
		s.t.Fatal(err)
	}
	users, err := account.New(account.Config{
		Store: s.store, Projects: projects, SigningKey: planet.Secret(testlog.TextSecret("signing-key-of-app-tokens-here")),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	registry := device.New(device.Config{Store: s.store})
	s.accounts = accounts{signUp: users.SignUp, authenticate: users.Authenticate, accessToken: users.AccessToken}
	s.devices = devices{register: registry.Register, updateToken: registry.UpdateToken, polling: registry.Polling}
	s.restart()
}

// ask sends what the app sends, with its headers.
func (s *appServer) ask(method, path, body, token string) clients.Answer {
	s.t.Helper()
	var headers []string
	if s.app.accept {
		headers = append(headers, "Accept", "application/json")
	}
	if method == "POST" {
		headers = append(headers, "Content-Type", s.app.jsonType)
	}
	if token != "" {
		headers = append(headers, as(token)...)
	}
	out := s.do(method, path, body, headers...)
	return clients.Answer{Status: out.StatusCode, Header: out.Header, Body: out.body}
}

func (s *appServer) registerUser() (clients.Registration, error) {
	s.t.Helper()
	return s.app.decoder.Register(s.ask("POST", "/v2/register_user", s.app.register, ""))
}

// follow sends what the app sends once it has a token, and after a restart with it.
func (s *appServer) follow(token string, withDevice bool) {
	s.t.Helper()
	if withDevice {
		if err := s.app.decoder.RegisterDevice(s.ask("POST", "/v2/register_device", s.app.device, token)); err != nil {
			s.t.Errorf("register_device: %v", err)
		}
	}
	if s.app.update != "" {
		if err := s.app.decoder.UpdateToken(s.ask("POST", "/v2/update_notification_token", s.app.update, token)); err != nil {
			s.t.Errorf("update_notification_token: %v", err)
		}
	}
	gateway, err := s.app.decoder.Issue(s.ask("GET", "/v2/access_token/issue", "", token))
	if err != nil || gateway.Token == "" || gateway.Token == token {
		s.t.Errorf("access_token/issue: %v", err)
	}
	for _, d := range s.store.devices {
		if d.Channel != s.app.channel {
			s.t.Errorf("the device has channel %q, want %q", d.Channel, s.app.channel)
		}
	}
}

// TestOfficialClients takes each of LINE's apps through its whole life, with its own
// strictness in decoding.
func TestOfficialClients(t *testing.T) {
	for _, a := range apps() {
		t.Run(a.decoder.Name()+" "+string(a.channel), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newAppServer(t, a)
				s.config.Now = time.Now // the bubble's clock
				reg, err := s.registerUser()
				if err != nil {
					t.Fatalf("register_user: %v", err)
				}
				if want := time.Now().Add(time.Hour).Truncate(time.Second); !reg.Expires.Equal(want) {
					t.Errorf("the app believes its token to last until %v, want %v", reg.Expires, want)
				}
				s.follow(reg.AppToken, true)
				if _, err := s.registerUser(); !errors.Is(err, clients.ErrTaken) {
					t.Errorf("another client with the same user ID: %v, want %v", err, clients.ErrTaken)
				}
				if a.polls {
					s.poll(reg.AppToken)
				}
				// Its push token was removed meanwhile: what the server then adds to its
				// answers disturbs nobody.
				for session, d := range s.store.devices {
					d.PushToken, d.ForgottenAt, d.ForgottenFor = "", time.Now(), "Unregistered"
					s.store.devices[session] = d
				}
				s.follow(reg.AppToken, true)
				// A restart with the old token, on a server that has lost its data: Apple
				// only updates and polls, Windows and Web register the device.
				s.loseData()
				s.follow(reg.AppToken, a.decoder.Name() != "apple")

				advance(t, time.Hour) // past the token's end
				if _, err := s.app.decoder.Issue(s.ask("GET", "/v2/access_token/issue", "", reg.AppToken)); err == nil {
					t.Error("an expired app token still opens the server")
				} else if a.decoder.Name() == "web" && !errors.Is(err, clients.ErrExpired) {
					t.Errorf("expired: %v, want %v", err, clients.ErrExpired)
				}
				if _, err := s.registerUser(); err != nil {
					t.Errorf("the user ID is not free after the token's end: %v", err)
				}
			})
		})
	}
}

// advance lets the bubble's time pass.
func advance(t *testing.T, d time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
}

// poll goes through an empty poll and one with a call.
func (s *appServer) poll(token string) {
	s.t.Helper()
	var next *bell.Letter
	s.mailbox.wait = func(ctx context.Context, poll bell.Poll) (*bell.Letter, error) {
		if next == nil {
			timer := time.NewTimer(poll.Hold)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		}
		return next, nil
	}
	s.restart()
	empty := s.app.decoder.Poll(s.ask("GET", "/v2/notification/lp", "", token))
	if empty.Call != nil || empty.Err != nil || (empty.Next != clients.PollNow && empty.Next != clients.PollLater) {
		s.t.Errorf("the empty poll was understood as %+v", empty)
	}
	done := 0
	next = letter(func(written bool) {
		if done++; !written {
			s.t.Error("the letter counts as not written")
		}
	})
	got := s.app.decoder.Poll(s.ask("GET", "/v2/notification/lp", "", token))
	if got.Call == nil {
		s.t.Fatalf("the poll with a call was understood as %+v", got)
	}
	if got.Call.CCParam != ccParam || done != 1 {
		s.t.Errorf("cc_param arrived as itself: %v; done %d times", got.Call.CCParam == ccParam, done)
	}
}

// TestAppThatFailedHalfWayIsNotLockedOut: Android saves nothing unless all three calls
// succeed, and tries again from the start.
func TestAppThatFailedHalfWayIsNotLockedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAppServer(t, apps()[1])
		first, err := s.registerUser()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.registerUser(); !errors.Is(err, clients.ErrTaken) {
			t.Errorf("at once: %v, want %v", err, clients.ErrTaken)
		}
		again := s.do("POST", "/v2/register_user", s.app.register, as(first.AppToken)...)
		again.want(t, http.StatusOK) // it shows who it is
		s.do("POST", "/v2/register_user", s.app.register, as("nonsense")...).want(t, http.StatusConflict)
		advance(t, 31*time.Second)
		if _, err := s.registerUser(); err != nil {
			t.Errorf("after 31 s: %v", err)
		}
		s.do("GET", "/v2/access_token/issue", "", as(again.data("accessToken"))...).want(t, http.StatusUnauthorized)
	})
}

// TestWrongClientKeyIsNotAnExpiredToken: 401 is for app tokens only.
func TestWrongClientKeyIsNotAnExpiredToken(t *testing.T) {
	s := newAppServer(t, apps()[0])
	out := s.do("POST", "/v2/register_user", `{"userId":"alice","serviceId":"`+service+`","apiKey":"wrong"}`)
	out.want(t, http.StatusForbidden)
	if out.envelope.Message != "apiKey and serviceId do not name a project of this server." {
		t.Errorf("message %q", out.envelope.Message)
	}
	out = s.do("POST", "/v2/register_user", `{"userId":"not allowed!","serviceId":"`+service+`","apiKey":"`+clientKey+`"}`)
	out.want(t, http.StatusBadRequest)
}

// TestRemarksNeverRefuse: version, region and name are never a reason to refuse.
func TestRemarksNeverRefuse(t *testing.T) {
	for _, value := range []string{`null`, `12.5`, `{"a":1}`, `[]`, `true`, `""`, `"日本"`} {
		s := newAppServer(t, apps()[0])
		out := s.do("POST", "/v2/register_user", `{"userId":"alice","serviceId":"`+service+`","apiKey":"`+clientKey+`","region":`+value+`,"displayName":`+value+`}`)
		out.want(t, http.StatusOK)
		s.do("POST", "/v2/register_device", `{"appVer":`+value+`,"appType":null,"newField":[1]}`, as(out.data("accessToken"))...).want(t, http.StatusOK)
	}
}
