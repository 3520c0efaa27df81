// Package natsbus is the bus over core NATS: for many nodes, for PostgreSQL behind a
// pooler in transaction mode, or for more hints than PostgreSQL's NOTIFY carries.
//
// NATS keeps nothing (no JetStream is needed), and who is slow or away misses messages.
// That is enough: see package bus.
package natsbus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/planetbell/planetbell/internal/bus"
	"github.com/planetbell/planetbell/planet"
)

// DefaultSubject is where hints go. Deployments that share NATS must differ in it.
const DefaultSubject = "planetbell"

// Bounds of what waits for us in the client, past which NATS drops messages and says so.
// The receiving goroutine only sorts messages into a queue, so it is rarely behind.
const (
	pendingMessages = 10000
	pendingBytes    = 32 << 20
)

// greetWithin bounds reaching one server, and its greeting.
const greetWithin = 3 * time.Second

// Config is how to reach NATS.
type Config struct {
	bus.Config
	// URL is nats://host:4222, or tls:// for TLS, with user:password@ or token@ before the
	// host where NATS wants it. Of a cluster give all servers, divided by commas, or one name
	// that stands for all: those that NATS tells of are not remembered.
	URL planet.Secret
	// Subject is at most 100 characters: words of letters, digits, "-" and "_", divided by
	// dots. Empty: [DefaultSubject].
	Subject string

	CredentialsFile string // of a NATS user (JWT and key), as "nsc generate creds" writes it; may be empty
	CAFile          string // certificates (PEM) of authorities that are trusted beside the system's, with tls:// only; may be empty
	CertFile        string // our own certificate (PEM) and its key, for NATS that checks clients; may be empty
	KeyFile         string
}

var subjectRule = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// New makes the bus. It connects when it runs; an error is about the configuration, and
// holds no part of the URL.
func New(c Config) (*bus.Node, error) {
	d, err := newDialer(c)
	if err != nil {
		return nil, fmt.Errorf("the bus over NATS: %w", err)
	}
	return bus.NewNode(c.Config, d)
}

type dialer struct {
	servers []string // without user and password
	options []nats.Option
	subject string
}

func newDialer(c Config) (*dialer, error) {
	if c.Subject == "" {
		c.Subject = DefaultSubject
	}
	if len(c.Subject) > 100 || !subjectRule.MatchString(c.Subject) {
		return nil, errors.New(`the subject is wrong: want at most 100 characters, words of letters, digits, "-" and "_", divided by dots`)
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, errors.New("a certificate of our own needs both of its files, the certificate's and the key's")
	}
	servers, user, err := readURL(c.URL.Reveal())
	if err != nil {
		return nil, err
	}
	d := &dialer{servers: servers, subject: c.Subject}
	d.options = append(d.options,
		nats.Name("planetbell "+c.Name),
		nats.NoReconnect(), // bus.Node connects again, and knows then that hints were lost
		nats.Timeout(greetWithin),
		nats.FlusherTimeout(5*time.Second),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // what Receive returns; the default prints
	)
	if user != nil {
		if password, has := user.Password(); has {
			d.options = append(d.options, nats.UserInfo(user.Username(), password))
		} else {
			d.options = append(d.options, nats.Token(user.Username()))
		}
	}
	if c.CredentialsFile != "" {
		d.options = append(d.options, nats.UserCredentials(c.CredentialsFile))
	}
	if c.CAFile != "" && strings.HasPrefix(servers[0], "tls:") {
		roots, err := trusted(c.CAFile)
		if err != nil {
			return nil, err
		}
		d.options = append(d.options, nats.Secure(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}))
	}
	if c.CertFile != "" {
		d.options = append(d.options, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	return d, nil
}

// trusted are the system's authorities and those of the file.
func trusted(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the file of authorities: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("the file of authorities %s holds no certificate: want PEM", file)
	}
	return roots, nil
}

// readURL takes user and password out of the URLs, so that no error can hold them.
func readURL(text string) (servers []string, user *url.Userinfo, err error) {
	for part := range strings.SplitSeq(text, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls"}, u.Scheme) || strings.Trim(u.Path, "/") != "" {
			return nil, nil, errors.New("the URL cannot be read: want nats://host:4222 or tls://host:4222, with user:password@ before the host if NATS wants it; several are divided by commas")
		}
		if u.User != nil && user != nil && u.User.String() != user.String() {
			return nil, nil, errors.New("the URLs name different users: the nodes of one NATS share one")
		}
		if u.User != nil {
			user = u.User
		}
		if len(servers) > 0 && !strings.HasPrefix(servers[0], u.Scheme+":") {
			return nil, nil, errors.New("the URLs are partly nats:// and partly tls://: one secret goes to all servers, so give all of them with tls://")
		}
		servers = append(servers, u.Scheme+"://"+u.Host)
	}
	return servers, user, nil
}

// Deaf implements [bus.Dialer].
func (d *dialer) Deaf() string {
	return fmt.Sprintf("the user must be allowed to publish and to subscribe to %q", d.subject)
}

// dialing makes connections that end with a context while NATS greets.
type dialing struct {
	ctx  context.Context
	stop func() bool // lets the newest connection live on
}

// Dial implements nats.CustomDialer.
func (d *dialing) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, greetWithin) // then the next server
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		d.stop = context.AfterFunc(d.ctx, func() { _ = conn.Close() })
	}
	return conn, err
}

// Dial implements [bus.Dialer].
func (d *dialer) Dial(ctx context.Context) (bus.Link, error) {
	by := &dialing{ctx: ctx, stop: func() bool { return true }}
	conn, err := nats.Connect(strings.Join(d.servers, ","), append(slices.Clone(d.options), nats.SetCustomDialer(by))...)
	by.stop()
	if err != nil {
		return nil, fmt.Errorf("connect to NATS for the bus: %w", err)
	}
	l := &link{conn: conn, subject: d.subject}
	if l.sub, err = conn.SubscribeSync(d.subject); err == nil {
		err = l.sub.SetPendingLimits(pendingMessages, pendingBytes)
	}
	if err == nil {
		err = conn.FlushWithContext(ctx) // the subscription is known to NATS before the first heartbeat
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("subscribe at NATS for the bus: %w", err)
	}
	return l, nil
}

// link is one connection to NATS.
type link struct {
	conn    *nats.Conn
	sub     *nats.Subscription
	subject string
}

// Send implements [bus.Link].
func (l *link) Send(_ context.Context, messages []string) error {
	for _, m := range messages {
		if err := l.conn.Publish(l.subject, []byte(m)); err != nil {
			return fmt.Errorf("send through NATS: %w", err)
		}
	}
	return nil
}

// Receive implements [bus.Link].
func (l *link) Receive(ctx context.Context) (string, error) {
	m, err := l.sub.NextMsgWithContext(ctx)
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		return "", bus.ErrMissed
	case err != nil && l.conn.LastError() != nil:
		return "", fmt.Errorf("receive from NATS: %w (%w)", err, l.conn.LastError())
	case err != nil:
		return "", fmt.Errorf("receive from NATS: %w", err)
	}
	return string(m.Data), nil
}

// Close implements [bus.Link].
func (l *link) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = l.conn.FlushWithContext(ctx) // the last words; in vain if the connection is broken
	l.conn.Close()
}
