package config

import (
	"net/netip"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Config is everything that an operator can set. A Config from [Load] is complete
// and checked; one built by hand begins with [Default]. It is read-only after start.
//
// File paths are absolute or relative to the process once loaded; in the YAML file
// they are relative to that file's folder.
type Config struct {
	// DataDir is the folder for everything the server writes. It is made at start.
	DataDir string `koanf:"data_dir" default:"data" path:"yes"`
	// CAFile holds further PEM certificates that are trusted when the server connects to
	// push providers, and to the customer's own systems: endpoints of events, policy hooks and
	// members_url. They are trusted beside the system's. Empty: the system's only.
	CAFile string `koanf:"ca_file" path:"yes"`
	// ShutdownTimeout bounds a graceful stop: waiting polls are answered, running
	// attempts finished, and the database closed within it. 1 second to 5 minutes.
	ShutdownTimeout time.Duration `koanf:"shutdown_timeout" default:"20s" min:"1s" max:"5m"`
	// Node is how this process is called in logs, metrics and in the database, where several
	// share one. At most 100 letters, digits, dots, hyphens and underscores. Empty: the machine's name.
	Node string `koanf:"node"`

	Public    Public    `koanf:"public"`
	Admin     Admin     `koanf:"admin"`
	Database  Database  `koanf:"database"`
	Bus       Bus       `koanf:"bus"`
	AppTokens AppTokens `koanf:"app_tokens"`
	Calls     Calls     `koanf:"calls"`
	Rooms     Rooms     `koanf:"rooms"`
	LongPoll  LongPoll  `koanf:"long_poll"`
	Streams   Streams   `koanf:"streams"`
	Devices   Devices   `koanf:"devices"`
	Callbacks Callbacks `koanf:"callbacks"`
	Limits    Limits    `koanf:"limits"`
	Retention Retention `koanf:"retention"`
	Webhooks  Webhooks  `koanf:"webhooks"`
	Log       Log       `koanf:"log"`
	Telemetry Telemetry `koanf:"telemetry"`

	// Canaries are synthetic calls, which show that real ones can ring.
	Canaries []Canary `koanf:"canaries"`
	// Projects are the LINE Planet projects that this process serves; at least one.
	Projects []Project `koanf:"projects"`
}

// Public is the listener that Planet Cloud and the clients reach.
type Public struct {
	// Address is host:port to listen on. An empty host means every interface.
	Address string `koanf:"address" default:"127.0.0.1:8080"`
	// BaseURL is how Planet Cloud and the clients see the server from outside, for example
	// https://calls.example.com. Used to print callback URLs; scheme, host and an optional
	// path, no query (docs/line-planet.md 3.7). Empty: derived from Address.
	BaseURL string `koanf:"base_url"`
	// TLS makes the listener speak HTTPS itself. Without it the listener is plain HTTP,
	// which is allowed on loopback or behind a proxy only.
	TLS PublicTLS `koanf:"tls"`
	// BehindProxy says that a proxy in front ends TLS, so that plain HTTP on a
	// non-loopback address is meant.
	BehindProxy bool `koanf:"behind_proxy" default:"false"`
	// TrustedProxies are the proxies whose X-Forwarded-For is believed: addresses or CIDR
	// ranges. Empty: none, the peer's own address counts.
	TrustedProxies []netip.Prefix `koanf:"trusted_proxies"`
	// WebOrigins are the origins of web apps that may use the client API (CORS), such as
	// https://app.example.com. Empty: none.
	WebOrigins []string `koanf:"web_origins"`
}

// PublicTLS is either a certificate in files or ACME, not both.
type PublicTLS struct {
	// CertificateFile is the PEM certificate with its full chain. Read again when it changes.
	CertificateFile string `koanf:"certificate_file" path:"yes"`
	// KeyFile is the PEM private key of CertificateFile.
	KeyFile string `koanf:"key_file" path:"yes"`
	// ACME gets and renews certificates from a public authority.
	ACME ACME `koanf:"acme"`
}

// ACME is automatic certificates (RFC 8555) through the TLS-ALPN-01 challenge, which
// arrives on port 443.
type ACME struct {
	// Domains are the names to get a certificate for. Empty: no ACME.
	Domains []string `koanf:"domains"`
	// Email is where the authority sends warnings. Optional.
	Email string `koanf:"email"`
	// CacheDir keeps account and certificates between starts. Relative to DataDir.
	CacheDir string `koanf:"cache_dir" default:"acme" path:"data"`
	// DirectoryURL is the authority. Empty: Let's Encrypt.
	DirectoryURL string `koanf:"directory_url"`
}

// Database is where calls, users and devices are kept: a SQLite file for one node, or
// PostgreSQL for several.
type Database struct {
	// Path is the SQLite file. Relative to DataDir. It is not used with URL.
	Path string `koanf:"path" default:"planetbell.db" path:"data"`
	// URL is a PostgreSQL database, which several nodes may share:
	// postgres://user:password@host:5432/name?sslmode=verify-full. Its pool_max_conns bounds
	// this node's connections, 18 without it; all nodes together need fewer than the server's
	// max_connections. Empty: SQLite.
	URL planet.Secret `koanf:"url"`
}

// Bus carries hints between nodes, which make them quick. They go through PostgreSQL unless
// there is a NATS server for them.
type Bus struct {
	// URL is one or several NATS servers, with commas: nats://user:password@host:4222, or
	// tls://. Needs a PostgreSQL database. Empty: hints go through PostgreSQL.
	URL planet.Secret `koanf:"url"`
	// CredentialsFile is a NATS credentials file (user JWT and seed). Optional.
	CredentialsFile string `koanf:"credentials_file" path:"yes"`
	// Subject is the NATS subject of the hints. All nodes of one database have the same, and
	// those of another database another.
	Subject string `koanf:"subject" default:"planetbell"`
}

// AppTokens are the tokens that register_user gives to clients.
type AppTokens struct {
	// SigningKey signs them: 64 or more hexadecimal characters, thus 32 bytes or more.
	// Changing it signs every client out.
	SigningKey planet.Secret `koanf:"signing_key"`
}

// Calls is the time in which a call can ring.
type Calls struct {
	// RingTime is how long the caller's client waits for an answer: 60 seconds, fixed in
	// PlanetKit (docs/line-planet.md 1.2). 10 seconds to 2 minutes.
	RingTime time.Duration `koanf:"ring_time" default:"60s" min:"10s" max:"2m"`
	// Safety is how long before the end of RingTime the last attempt may start, because a
	// push then would reach a call that is over. 0 to 30 seconds, and less than RingTime.
	Safety time.Duration `koanf:"safety" default:"5s" min:"0s" max:"30s"`
	// LostAfter is how long a call's end is waited for, which comes when the conversation is
	// over. A call whose Call Event has not come by then is shown as lost; one that comes later
	// still ends it. 5 minutes to 30 days.
	LostAfter time.Duration `koanf:"lost_after" default:"24h" min:"5m" max:"720h"`
}

// LongPoll is notification/lp, the way to desktop clients.
type LongPoll struct {
	// Hold is how long a poll waits for a call before its 503. 5 to 55 seconds; below every
	// client's own timeout and common proxy limits (docs/line-planet.md 11, no. 30).
	Hold time.Duration `koanf:"hold" default:"25s" min:"5s" max:"55s"`
}

// Streams are notification/sse, over which calls come without polling.
type Streams struct {
	// Heartbeat is how often a stream that has nothing to say shows that it lives. 1 to 55 seconds;
	// half of the shortest idle timeout in front.
	Heartbeat time.Duration `koanf:"heartbeat" default:"15s" min:"1s" max:"55s"`
	// Life is how long a stream lives until its client has to begin another. 1 minute to 24 hours;
	// below what proxies allow a request to take.
	Life time.Duration `koanf:"life" default:"1h" min:"1m" max:"24h"`
}

// Devices is how long they are kept.
type Devices struct {
	// ForgetUnseenAfter is how long a device is kept that makes no contact; one that an
	// operator added stays. 1 hour to 400 days; FCM ends a token after 270 days
	// (docs/push-providers.md 7.5).
	ForgetUnseenAfter time.Duration `koanf:"forget_unseen_after" default:"6480h" min:"1h" max:"9600h"`
}

// Callbacks is how Planet Cloud's requests are taken.
type Callbacks struct {
	// AllowFrom are the only addresses that callbacks are taken from: addresses or CIDR
	// ranges, to be filled from LINE's firewall page. Empty: from everywhere; the secret in
	// the path is what protects.
	AllowFrom []netip.Prefix `koanf:"allow_from"`
	// Recording takes the recording callback too, of which only the 2020 edition is known.
	Recording bool `koanf:"recording" default:"false"`
}

// Limits bound what comes from outside.
type Limits struct {
	// DeliveriesInFlight is how many deliveries may be unfinished at once in this process on
	// one route (credential, channel, APNs server). Devices beyond it are not rung, the
	// callee's others are; a Notify that finds room for none is answered 503. 100 to 1,000,000.
	DeliveriesInFlight int `koanf:"deliveries_in_flight" default:"20000" min:"100" max:"1000000"`
	// SignUpsPerMinute is how many register_user calls one client address may make. 1 to
	// 100,000.
	SignUpsPerMinute int `koanf:"sign_ups_per_minute" default:"60" min:"1" max:"100000"`
	// AccessTokensPerMinute is how many PlanetKit access tokens one user may ask for. 1 to
	// 10,000. Planet Cloud has its own limit (disconnect reason 1512).
	AccessTokensPerMinute int `koanf:"access_tokens_per_minute" default:"60" min:"1" max:"10000"`
	// InvitationsPerMinute is how many users one user may invite into rooms. 100, because one
	// request may have so many, to 10,000.
	InvitationsPerMinute int `koanf:"invitations_per_minute" default:"120" min:"100" max:"10000"`
	// LongPolls is how many polls and streams may wait at once in this process. 10 to 1,000,000.
	LongPolls int `koanf:"long_polls" default:"20000" min:"10" max:"1000000"`
	// MailboxCalls is how many calls may lie in this process' mailboxes at once, one for each
	// device that polls, about 2 KB each. Devices beyond it are not rung, the callee's others are.
	// 100 to 10,000,000.
	MailboxCalls int `koanf:"mailbox_calls" default:"100000" min:"100" max:"10000000"`
}

// Retention is how long what has happened is kept. It is removed within an hour or two
// after that, in small batches.
type Retention struct {
	// Calls is how long a call is kept, with what was sent to which device and what became of
	// it. 1 day to 10 years; 0: for ever.
	Calls time.Duration `koanf:"calls" default:"2160h" min:"0s" max:"87600h"`
	// Journal is how long the callbacks of LINE Planet are kept as they came: they hold the
	// parties' IP addresses, which are personal data. Notify's is kept with its call. 1 day to
	// 10 years; 0: for ever.
	Journal time.Duration `koanf:"journal" default:"720h" min:"0s" max:"87600h"`
	// Audit is how long the audit log is kept: who did what on the admin listener. 1 day to 10
	// years; 0: for ever.
	Audit time.Duration `koanf:"audit" default:"8760h" min:"0s" max:"87600h"`
}

// Webhooks is how events are told to the endpoints in projects[].events (docs/events.md).
type Webhooks struct {
	// AllowHTTP lets endpoints have http:// addresses. Events are signed, but anybody on the
	// way could read them.
	AllowHTTP bool `koanf:"allow_http" default:"false"`
	// AllowPrivate are addresses or CIDR ranges that endpoints may have although they are not
	// public, such as 10.0.0.0/8 or 127.0.0.1. Empty: public addresses only.
	AllowPrivate []netip.Prefix `koanf:"allow_private"`
	// Concurrency is how many events may be on their way to one endpoint at once; in a second
	// at most 20 times as many are. 1 to 256.
	Concurrency int `koanf:"concurrency" default:"16" min:"1" max:"256"`
	// Keep is how long events are kept that were told, to be replayed. 1 hour to 30 days.
	Keep time.Duration `koanf:"keep" default:"72h" min:"1h" max:"720h"`
	// MaxWaiting is how many events may wait in all. Past it the oldest are given up. 1,000 to
	// 10,000,000.
	MaxWaiting int `koanf:"max_waiting" default:"200000" min:"1000" max:"10000000"`
	// MaxDead is how many events that were given up are kept, to be replayed. 100 to 10,000,000.
	MaxDead int `koanf:"max_dead" default:"50000" min:"100" max:"10000000"`
}

// Log is the server's own log, written to standard error.
type Log struct {
	// Level is the least important level that is written.
	Level string `koanf:"level" default:"info" oneof:"debug info warn error"`
	// Format is json, text, or auto: text on a terminal and json elsewhere.
	Format string `koanf:"format" default:"auto" oneof:"auto json text"`
}

// UnknownCallee is what Notify is answered when the callee has no device.
type UnknownCallee string

// The values of [UnknownCallee].
const (
	// RingOut answers 200 and lets the caller hear ring-back until the ring time ends, so
	// that nobody can find out who is registered.
	RingOut UnknownCallee = "ring_out"
	// Refuse answers 404, which ends the call at once with PUSH_ERROR.
	Refuse UnknownCallee = "refuse"
)

// Project is one (environment, service ID) pair with its LINE Planet keys and its
// push credentials.
type Project struct {
	// Name is the operator's short name for it, unique, in logs and metrics: 1 to 32 of
	// a-z, 0-9, hyphen.
	Name string `koanf:"name"`
	// Environment is one of LINE Planet's two worlds: evaluation or real.
	Environment planet.Environment `koanf:"environment" default:"evaluation" oneof:"evaluation real"`
	// EnvironmentLabel is what clients get as "_env". Empty: the environment's name.
	EnvironmentLabel string `koanf:"environment_label"`
	// ServiceID is LINE Planet's service ID: up to 64 letters, digits, dots, hyphens.
	ServiceID string `koanf:"service_id"`
	// APIKey is LINE Planet's API key for the pair. It identifies and is not secret.
	APIKey string `koanf:"api_key"`
	// APISecret belongs to APIKey: 64 lower-case hexadecimal characters, used as text.
	APISecret planet.Secret `koanf:"api_secret"`
	// ServerAPIURL is where planetbell room and planetbell agent reach LINE Planet's Server API
	// (docs/line-planet.md 7.1); https, or http on this machine. Empty: the environment's.
	ServerAPIURL string `koanf:"server_api_url"`
	// ClientKey is what the apps send as apiKey in register_user. It is in every copy of
	// the app, so it proves nothing; better not LINE's API key. At least 8 characters.
	ClientKey planet.Secret `koanf:"client_key"`
	// CallbackSecret is the segment of the callback URLs that only LINE Planet knows: 32 to
	// 128 characters that need no escaping in a URL path.
	CallbackSecret planet.Secret `koanf:"callback_secret"`
	// SharedUserIDs lets several installations use the same user ID at once. Off: the
	// second is answered 409, as LINE's sample server does.
	SharedUserIDs bool `koanf:"shared_user_ids" default:"false"`
	// UnknownCallee is what Notify is answered when the callee has no device.
	UnknownCallee UnknownCallee `koanf:"unknown_callee" default:"ring_out" oneof:"ring_out refuse"`
	// AppTokenLifetime is how long an app token of register_user is valid. 1 minute to 30
	// days.
	AppTokenLifetime time.Duration `koanf:"app_token_lifetime" default:"1h" min:"1m" max:"720h"`
	// IssuedAtSkew is subtracted from the issue time of PlanetKit access tokens, for
	// servers whose clock runs ahead. 0 to 30 seconds.
	IssuedAtSkew time.Duration `koanf:"issued_at_skew" default:"0s" min:"0s" max:"30s"`
	// CallRules lets users keep a block list and do-not-disturb, which calls are held to. It
	// costs each call one more look into the database (docs/policy.md).
	CallRules bool `koanf:"call_rules" default:"false"`
	// CallerNames shows devices the name with which the caller registered. It costs a call a
	// look into the database, unless the caller called within the last minute.
	CallerNames bool `koanf:"caller_names" default:"false"`
	// PolicyHook is the customer's own endpoint, asked before a call rings.
	PolicyHook PolicyHook `koanf:"policy_hook"`

	// MissedCalls is what the callee is told of a call that nobody answered.
	MissedCalls MissedCalls `koanf:"missed_calls"`

	// Invitations is who is asked into the project's rooms.
	Invitations Invitations `koanf:"invitations"`

	// APNs are Apple's credentials, one per app and key. Empty: no push to iOS.
	APNs []APNs `koanf:"apns"`
	// FCM is Firebase's credential. Empty: no push to Android.
	FCM FCM `koanf:"fcm"`
	// WebPush rings browsers. Without a key: no push to browsers.
	WebPush WebPush `koanf:"web_push"`

	// Events are the endpoints of the customer's own systems that are told what happens
	// (docs/events.md). Empty: nobody is told, and no event is made.
	Events []Endpoint `koanf:"events"`
}

// Endpoint is one place that is told a project's events, by signed HTTP POST.
type Endpoint struct {
	// Name is the operator's short name for it, unique within the project: 1 to 32 of a-z,
	// 0-9, hyphen. What waits for an endpoint waits under its name, whatever its URL.
	Name string `koanf:"name" default:"main"`
	// URL is told by POST. Secret, because it may hold one; logs show its host only.
	URL planet.Secret `koanf:"url"`
	// FallbackURL is told instead while URL does not take events. Secret, as URL.
	FallbackURL planet.Secret `koanf:"fallback_url"`
	// Secret signs: whsec_ and 24 to 64 bytes in base64, made by "planetbell event secret".
	Secret planet.Secret `koanf:"secret"`
	// PreviousSecret signs too, while the receiver changes from one to the other.
	PreviousSecret planet.Secret `koanf:"previous_secret"`
	// Types are what it wants to be told. Empty: everything.
	Types []bell.EventType `koanf:"types" oneof:"call.ringing call.ended call.missed room.started room.changed room.ended device.removed delivery.failed"`
}

// MissedCalls is what becomes of a call that ended as missed, canceled or push_failed.
type MissedCalls struct {
	// Push tells the callee's devices that can show a notification: those reached by alerts of
	// APNs, by FCM, and by polls that ask for notices. Never as a VoIP push. LINE's demo apps do
	// not notice it.
	Push bool `koanf:"push" default:"true"`
}

// APNs is one credential for one iOS or macOS app: a token signing key (team_id,
// key_id, key), or a certificate as PEM files, or a certificate as PKCS#12 file.
type APNs struct {
	// BundleID is the app's bundle ID; VoIP pushes go to the topic <bundle_id>.voip.
	BundleID string `koanf:"bundle_id"`
	// AppTypes are the appType values of the devices that this credential rings. Empty: all
	// devices of the project that APNs reaches.
	AppTypes []string `koanf:"app_types"`
	// Servers are the APNs environments that the credential is valid for: production,
	// sandbox. Keys made since February 2025 are valid for one only.
	Servers []bell.APNsServer `koanf:"servers" default:"production,sandbox" oneof:"production sandbox"`
	// TeamID is the 10-character ID of the Apple developer team.
	TeamID string `koanf:"team_id"`
	// KeyID is the 10-character ID of Key.
	KeyID string `koanf:"key_id"`
	// Key is the content of the .p8 file (PKCS#8, EC P-256); usually given as key_file.
	Key planet.Secret `koanf:"key"`
	// KeyFile is where Load read Key from, to be looked at again. Empty: Key was given.
	KeyFile string `koanf:"-"`
	// CertificateFile is a push certificate in PEM form, instead of a key.
	CertificateFile string `koanf:"certificate_file" path:"yes"`
	// CertificateKeyFile is the private key of CertificateFile in PEM form.
	CertificateKeyFile string `koanf:"certificate_key_file" path:"yes"`
	// P12File is a push certificate with its key in PKCS#12 form, instead of a key.
	P12File string `koanf:"p12_file" path:"yes"`
	// P12Password opens P12File. May be empty.
	P12Password planet.Secret `koanf:"p12_password"`
	// P12PasswordFile is where Load read P12Password from. Empty: P12Password was given.
	P12PasswordFile string `koanf:"-"`
	// VoIPExpiration is how long APNs may try to deliver a VoIP push. 0: once, as Apple asks
	// for calls. 0 to 15 seconds.
	VoIPExpiration time.Duration `koanf:"voip_expiration" default:"0s" min:"0s" max:"15s"`
	// ProductionURL is APNs' production server.
	ProductionURL string `koanf:"production_url" default:"https://api.push.apple.com"`
	// SandboxURL is APNs' sandbox server.
	SandboxURL string `koanf:"sandbox_url" default:"https://api.sandbox.push.apple.com"`
}

// FCM is one Firebase project.
type FCM struct {
	// ServiceAccount is the content of the service account's JSON file; usually given as
	// service_account_file. Empty: no FCM.
	ServiceAccount planet.Secret `koanf:"service_account"`
	// ServiceAccountFile is where Load read ServiceAccount from. Empty: it was given.
	ServiceAccountFile string `koanf:"-"`
	// MessagesPerSecond is how many messages this process sends to FCM, and how many at once
	// after a pause. Google's default quota of a project is 600,000 a minute, for all
	// processes together. 1 to 1,000,000.
	MessagesPerSecond int `koanf:"messages_per_second" default:"10000" min:"1" max:"1000000"`
	// BaseURL is FCM's server.
	BaseURL string `koanf:"base_url" default:"https://fcm.googleapis.com"`
}
