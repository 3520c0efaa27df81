package sim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// WorldOptions configures [NewWorld].
type WorldOptions struct {
	// Dir is where the files for a planetbell configuration are written. It must exist.
	Dir      string
	Clock    Clock         // nil is the machine's
	RingTime time.Duration // 0 is 60 s
	BundleID string        // of iOS phones; "" is "com.example.planetbell"
	Project  string        // Firebase project; "" is "planetbell-sim"
	// Lenient switches the strict call test of the push services off.
	Lenient bool
	// ControlAddress is where the control port listens; "" is any port of 127.0.0.1.
	ControlAddress string
	DuplicateShare float64 // see CloudOptions
	ReorderShare   float64
	Seed           uint64 // also of faults with a share
	Recent         int    // how many records of each sort are kept; 0 is 10,000
	CA             *CA    // of the push services, and trusted by phones and cloud; nil makes a fresh one
	// Transport wraps what phones and Planet Cloud send their requests through, to look at
	// them; nil does not.
	Transport func(http.RoundTripper) http.RoundTripper
}

// Settings is what a planetbell configuration needs to know of a world.
type Settings struct {
	CAFile             string `json:"ca_file"`               // trust this for the push services
	APNsKeyFile        string `json:"apns_key_file"`         // .p8
	APNsKeyID          string `json:"apns_key_id"`           //
	APNsTeamID         string `json:"apns_team_id"`          //
	BundleID           string `json:"bundle_id"`             //
	APNsSandboxURL     string `json:"apns_sandbox_url"`      //
	APNsProductionURL  string `json:"apns_production_url"`   //
	ServiceAccountFile string `json:"service_account_file"`  // its token_uri points at the fake
	FCMURL             string `json:"fcm_url"`               //
	FCMProject         string `json:"fcm_project"`           //
	ServerAPIURL       string `json:"server_api_url"`        // of the pretend LINE Planet Server API
	WebPushURL         string `json:"web_push_url"`          // origin of the browsers' endpoints
	WebPushHost        string `json:"web_push_host"`         // its host:port, to be allowed
	ControlURL         string `json:"control_url,omitempty"` //
}

// AppServer is the app server under test, for [World.Connect].
type AppServer struct {
	BaseURL     string        // of the client API, without "/v2"
	CallbackURL string        // "http://host/cb/<secret>"
	ServiceID   string        //
	ClientKey   string        // the "apiKey" of register_user
	APIKey      string        // LINE's, for access tokens
	APISecret   planet.Secret // LINE's; "" leaves access tokens unchecked
}

// World is a whole pretend surrounding of an app server.
type World struct {
	CA         *CA
	Sandbox    *APNs
	Production *APNs
	FCM        *FCM
	Cloud      *Cloud
	API        *ServerAPI
	WebPush    *WebPush

	o        WorldOptions
	settings Settings
	hub      *hub
	client   *http.Client
	control  control

	mu     sync.Mutex
	server AppServer
	phones []*Phone
}

// NewWorld starts a certificate authority, both APNs servers, FCM, the browsers' push service,
// Planet Cloud and the control port, and writes the files into the folder. Close it.
func NewWorld(o WorldOptions) (*World, error) {
	if o.BundleID == "" {
		o.BundleID = "com.example.planetbell"
	}
	w := &World{o: o, hub: newHub(o.Recent), CA: o.CA}
	var err error
	if w.CA == nil {
		if w.CA, err = NewCA(); err != nil {
			return nil, err
		}
	}
	w.client = w.CA.Client()
	w.client.Transport.(*http.Transport).MaxIdleConnsPerHost = 256
	if o.Transport != nil {
		w.client.Transport = o.Transport(w.client.Transport)
	}
	w.Sandbox, w.Production = w.newAPNs(APNsSandbox), w.newAPNs(APNsProduction)
	if w.FCM, err = NewFCM(FCMOptions{
		ProjectID: o.Project, CA: w.CA, Clock: o.Clock, Strict: !o.Lenient, RingTime: o.RingTime, Recent: o.Recent,
		Seed: o.Seed, OnMessage: func(m FCMMessage) { w.push("fcm", m.Token) },
	}); err != nil {
		return nil, err
	}
	w.Cloud = NewCloud(CloudOptions{
		Client: w.client, Clock: o.Clock, RingTime: o.RingTime, DetectBusy: true, Recent: o.Recent, Seed: o.Seed,
		DuplicateShare: o.DuplicateShare, ReorderShare: o.ReorderShare, OnEvent: w.hub.publish,
	})
	w.API = NewServerAPI(ServerAPIOptions{Cloud: w.Cloud, CA: w.CA, Seed: o.Seed, Recent: o.Recent})
	w.WebPush = NewWebPush(WebPushOptions{
		CA: w.CA, Clock: o.Clock, Strict: !o.Lenient, RingTime: o.RingTime, Recent: o.Recent, Seed: o.Seed,
		OnMessage: func(m WebPushMessage) { w.push("webpush", m.Subscription) },
	})
	if err := w.start(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// start starts all servers and writes the files.
func (w *World) start() error {
	for _, s := range []interface{ Start() error }{w.Sandbox, w.Production, w.FCM, w.WebPush, w.API} {
		if err := s.Start(); err != nil {
			return err
		}
	}
	if err := w.startControl(w.o.ControlAddress); err != nil {
		return err
	}
	return w.writeFiles()
}

// newAPNs makes one of the two servers.
func (w *World) newAPNs(env APNsEnvironment) *APNs {
	return NewAPNs(APNsOptions{
		Environment: env, CA: w.CA, Clock: w.o.Clock, Strict: !w.o.Lenient, RingTime: w.o.RingTime, Recent: w.o.Recent,
		Seed: w.o.Seed, OnPush: func(p APNsPush) { w.push("apns-"+string(env), p.Token) },
	})
}

// push reports an accepted push.
func (w *World) push(source, token string) {
	text := "took a push for a device that is not of this world"
	user := ""
	for _, p := range w.Phones() {
		if p.Token().Reveal() == token || p.alert == token || p.Subscription().ID == token {
			text, user = "took a push for "+p.Name(), p.User().String()
			break
		}
	}
	w.hub.publish(Event{At: orSystem(w.o.Clock).Now(), Source: source, Kind: EventPush, User: user, Text: text})
}

// writeFiles writes the authority, the APNs key and the service account.
func (w *World) writeFiles() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the APNs key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode the APNs key: %w", err)
	}
	account, err := w.FCM.ServiceAccountJSON()
	if err != nil {
		return err
	}
	const keyID, team = "SIMKEY0001", "SIMTEAM001"
	for _, a := range []*APNs{w.Sandbox, w.Production} {
		a.TrustKey(APNsKey{ID: keyID, TeamID: team, Public: &key.PublicKey})
	}
	w.settings = Settings{
		CAFile: filepath.Join(w.o.Dir, "sim-ca.pem"), APNsKeyFile: filepath.Join(w.o.Dir, "AuthKey_"+keyID+".p8"),
		APNsKeyID: keyID, APNsTeamID: team, BundleID: w.o.BundleID,
		APNsSandboxURL: w.Sandbox.URL(), APNsProductionURL: w.Production.URL(),
		ServiceAccountFile: filepath.Join(w.o.Dir, "service-account.json"),
		FCMURL:             w.FCM.URL(), FCMProject: w.FCM.ProjectID(), ControlURL: w.control.l.url(),
		ServerAPIURL: w.API.URL(), WebPushURL: w.WebPush.URL(), WebPushHost: strings.TrimPrefix(w.WebPush.URL(), "https://"),
	}
	if err := w.CA.WriteFile(w.settings.CAFile); err != nil {
		return err
	}
	for path, text := range map[string][]byte{
		w.settings.APNsKeyFile:        pemBlock("PRIVATE KEY", der),
		w.settings.ServiceAccountFile: account,
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return fmt.Errorf("write the simulator's credentials: %w", err)
		}
	}
	return nil
}

// Settings returns what a planetbell configuration needs.
func (w *World) Settings() Settings { return w.settings }

// Connect tells the world where the app server is. Phones and calls need it.
func (w *World) Connect(s AppServer) error {
	err := w.Cloud.AddProject(Project{
		ServiceID: s.ServiceID, CallbackURL: s.CallbackURL, APIKey: s.APIKey, APISecret: s.APISecret,
	})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.server = s
	return nil
}

// PhoneRequest asks for a phone of the world's app server.
type PhoneRequest struct {
	Kind        PhoneKind
	Name        string // unique in the world; "" is "<user>'s <kind>"
	UserID      string
	DisplayName string
	Sandbox     bool        // iOS: the app is signed for APNs' sandbox
	PushProfile PushProfile // browser: whose push service; "" is the default
	Behavior    Behavior
	// Acknowledges, Notices and Streams make it an app of one's own, see PhoneOptions.
	Acknowledges bool
	Notices      bool
	Streams      bool
}

// AddPhone makes a phone, registers it, and keeps it on until Close.
func (w *World) AddPhone(ctx context.Context, r PhoneRequest) (*Phone, error) {
	w.mu.Lock()
	s := w.server
	w.mu.Unlock()
	if s.BaseURL == "" {
		return nil, errors.New("the world does not know the app server; call Connect first")
	}
	if r.Name == "" {
		r.Name = r.UserID + "'s " + string(r.Kind)
	}
	if w.Phone(r.Name) != nil {
		return nil, fmt.Errorf("there is already a phone named %q", r.Name)
	}
	apns := w.Production
	if r.Sandbox {
		apns = w.Sandbox
	}
	p, err := NewPhone(r.Kind, PhoneOptions{
		Name: r.Name, BaseURL: s.BaseURL, User: planet.UserRef{ServiceID: s.ServiceID, UserID: r.UserID},
		DisplayName: r.DisplayName, APIKey: s.ClientKey, Client: w.client, Clock: w.o.Clock, Cloud: w.Cloud,
		APNs: apns, BundleID: w.o.BundleID, FCM: w.FCM, WebPush: w.WebPush, PushProfile: r.PushProfile,
		Behavior: r.Behavior, Acknowledges: r.Acknowledges, Notices: r.Notices, Streams: r.Streams, OnEvent: w.hub.publish,
	})
	if err != nil {
		return nil, err
	}
	if err := p.Start(ctx); err != nil {
		p.Close()
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phones = append(w.phones, p)
	return p, nil
}

// Phones returns all phones, in the order in which they were added.
func (w *World) Phones() []*Phone {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.phones)
}

// Phone returns the phone with the name, or nil.
func (w *World) Phone(name string) *Phone {
	for _, p := range w.Phones() {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

// Call places a call between two users of the connected service. When the caller has a
// phone here, the phone dials, with an access token of the app server.
func (w *World) Call(ctx context.Context, from, to string, r CallRequest) (*Call, error) {
	w.mu.Lock()
	service := w.server.ServiceID
	w.mu.Unlock()
	r.Caller = planet.UserRef{ServiceID: service, UserID: from}
	r.Callee = planet.UserRef{ServiceID: service, UserID: to}
	for _, p := range w.Phones() {
		if p.User() == r.Caller && p.AppToken() != "" {
			return p.Dial(ctx, r)
		}
	}
	return w.Cloud.Place(r)
}

// Events returns a channel of everything that happens from now on, closed when ctx is
// done. A reader that does not keep up loses events.
func (w *World) Events(ctx context.Context) <-chan Event { return w.hub.watch(ctx) }

// Recent returns the newest events, oldest first.
func (w *World) Recent() []Event { return w.hub.recent.all() }

// Close switches the phones off, ends all calls and servers, and waits for everything.
// The files stay.
func (w *World) Close() error {
	err := errors.Join(w.control.l.close(), w.API.Close())
	w.Cloud.Close() // first, so that no phone waits for a call
	for _, p := range w.Phones() {
		p.Close()
	}
	err = errors.Join(err, w.Sandbox.Close(), w.Production.Close(), w.FCM.Close(), w.WebPush.Close())
	w.client.CloseIdleConnections()
	return err
}
