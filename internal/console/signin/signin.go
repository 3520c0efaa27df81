package signin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// MinToken is the shortest API token that is accepted, in characters. A shorter one could be
// guessed, and opens nothing.
const MinToken = 16

// Lifetimes of sessions, where Config has none.
const (
	defaultIdle     = 12 * time.Hour
	defaultLifetime = 7 * 24 * time.Hour
)

// User signs in with a password.
type User struct {
	Name string
	Hash bell.PasswordHash
	Role bell.Role
}

// Token opens the admin API, and a session too.
type Token struct {
	Name string
	Sum  [sha256.Size]byte // of the token; zero opens nothing
	Role bell.Role
}

// Config is what a Service is made of. Its zero value works, and lets nobody in.
type Config struct {
	// Token opens everything, under the name admin.token. One shorter than MinToken opens
	// nothing.
	Token  planet.Secret
	Users  []User
	Tokens []Token
	OIDC   *OIDC // nil: none
	// Store keeps sessions. nil: there are none, and nobody can sign in.
	Store Store
	// Secure says that the listener is reached by HTTPS only: cookies are for nothing else.
	Secure bool
	// TrustedProxies are the peers whose X-Forwarded-For is believed, so that attempts are counted
	// for who asks and not for the proxy. Empty: none.
	TrustedProxies []netip.Prefix
	// Idle is how long a session is kept that does nothing, and Lifetime how long it is kept at
	// most; 12 hours and 7 days if 0.
	Idle, Lifetime time.Duration
	// Page writes the sign-in page; a plain one if nil.
	Page func(w http.ResponseWriter, r *http.Request, status int, p Page) error
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	Log *slog.Logger // none if nil
}

// Service says who asks. It is safe for concurrent use and starts no goroutine.
type Service struct {
	Config
	users    map[string]*User
	dummies  []bell.PasswordHash // stand for unknown users, and for others than who signs in
	tokens   []Token
	sessions *sessions
	attempts *attempts
	oidc     *provider
	slots    chan struct{} // one for each password that may be checked now
	// derive is argon2id; tests count with it.
	derive func(password string, h bell.PasswordHash) []byte
}

// New makes a Service.
func New(c Config) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Idle <= 0 {
		c.Idle = defaultIdle
	}
	if c.Lifetime <= 0 {
		c.Lifetime = defaultLifetime
	}
	if c.Page == nil {
		c.Page = plainPage
	}
	s := &Service{
		Config: c, users: map[string]*User{}, attempts: newAttempts(), derive: derive,
		slots: make(chan struct{}, concurrentPasswords),
	}
	if len(c.Token) >= MinToken {
		s.tokens = append(s.tokens, Token{Name: "admin.token", Sum: sha256.Sum256([]byte(c.Token.Reveal())), Role: bell.Admin})
	}
	s.tokens = append(s.tokens, c.Tokens...)
	for i := range c.Users {
		s.users[c.Users[i].Name] = &c.Users[i]
	}
	s.dummies = dummies(c.Users)
	if c.Store != nil {
		s.sessions = newSessions(s)
	}
	if c.OIDC != nil {
		s.oidc = &provider{OIDC: *c.OIDC, turn: make(chan struct{}, 1)}
	}
	return s
}

// Empty reports whether there are no credentials at all.
func (s *Service) Empty() bool {
	return len(s.tokens) == 0 && len(s.users) == 0 && s.oidc == nil
}

// Identify says who sent a request, by its header Authorization or else by its session; nobody,
// the zero value, if neither is any good. A request with a session that changes something must
// show that it comes from a page of this server, or it is refused with bell.Forbidden. It fails
// with bell.Unavailable if the session cannot be looked up.
func (s *Service) Identify(r *http.Request) (Principal, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		return s.bearer(header), nil
	}
	who, err := s.sessions.who(r)
	if err != nil || who == (Principal{}) {
		return Principal{}, err
	}
	if changes(r.Method) && !fromHere(r) {
		return who, bell.E(bell.Forbidden, "A change with a session must come from a page of this server; programs use an API token instead.", nil)
	}
	return who, nil
}

// Peek is Identify for a request that nobody has made: it does not note that the session is in
// use, which ends Config.Idle after somebody did something.
func (s *Service) Peek(r *http.Request) (Principal, error) {
	return s.Identify(r.WithContext(context.WithValue(r.Context(), peekKey{}, true)))
}

// peekKey marks a context in which looking a session up does not keep it.
type peekKey struct{}

// bearer compares by hash, and with every token, so that the time it takes says nothing about
// them.
func (s *Service) bearer(header string) Principal {
	scheme, text, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Principal{}
	}
	t := s.token(text)
	if t == nil {
		return Principal{}
	}
	return Principal{Name: t.Name, Role: t.Role, Via: ViaToken}
}

func (s *Service) token(text string) (found *Token) {
	given := sha256.Sum256([]byte(text))
	for i := range s.tokens {
		if subtle.ConstantTimeCompare(given[:], s.tokens[i].Sum[:]) == 1 {
			found = &s.tokens[i]
		}
	}
	if len(text) < MinToken {
		return nil
	}
	return found
}

// current returns who a session stands for as the configuration is now: nobody if the name is
// gone, or has another password, token or role than when the session began.
func (s *Service) current(began session) Principal {
	who := Principal{Name: began.Name, Via: began.Via}
	stamp := ""
	switch began.Via {
	case ViaPassword:
		if u := s.users[began.Name]; u != nil {
			who.Role, stamp = u.Role, u.stamp()
		}
	case ViaToken:
		for i := range s.tokens {
			if t := &s.tokens[i]; t.Name == began.Name {
				who.Role, stamp = t.Role, t.stamp()
			}
		}
	case ViaOIDC:
		if s.oidc != nil {
			who.Role, stamp = began.Role, s.oidc.stamp()
		}
	}
	if stamp == "" || stamp != began.Stamp || !who.Role.Valid() {
		return Principal{}
	}
	return who
}

func (u *User) stamp() string { return stampOf("user", u.Hash.PHC().Reveal(), string(u.Role)) }

func (t *Token) stamp() string {
	return stampOf("token", hex.EncodeToString(t.Sum[:]), string(t.Role))
}

// stampOf tells one setting from another, and does not say what they are.
func stampOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		sum := sha256.Sum256([]byte(p))
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Store keeps sessions, by a key that is not what the cookie holds. All nodes of a database
// share it. Its error kinds are those of call.Store.
type Store interface {
	// SaveSignIn adds a session, or replaces it.
	SaveSignIn(ctx context.Context, key, data string, expires, seen time.Time) error
	// FindSignIn returns a session that does not expire by now and was seen since a time, and
	// when that was.
	FindSignIn(ctx context.Context, key string, now, seenSince time.Time) (data string, seen time.Time, found bool, err error)
	// TouchSignIn notes that a session was seen, unless it was seen later. It brings none back.
	TouchSignIn(ctx context.Context, key string, seen time.Time) error
	// EndSignIn removes a session.
	EndSignIn(ctx context.Context, key string) error
}
