package doctor

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/httpapi"
	"github.com/planetbell/planetbell/internal/push/transport"
)

// publicExpiry: authorities' certificates are renewed 30 days before their end, or at two
// thirds of a short life; one with less left is not being renewed.
const publicExpiry = 14 * 24 * time.Hour

// publicURL is what is registered, or nil with a result that says why it is not looked at.
func (e *exam) publicURL() *url.URL {
	u, err := url.Parse(e.cfg.Public.ExternalURL())
	switch {
	case e.cfg.Public.BaseURL == "" && e.name == "public-address":
		e.fault("public.base_url", "public-unset", "It is not set, so what LINE Planet reaches cannot be looked at.")
	case e.cfg.Public.BaseURL == "", err != nil:
		e.skip("", "not asked: public.base_url is not set")
	default:
		return u
	}
	return nil
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "http":
		return "80"
	}
	return "443"
}

func (e *exam) publicAddress(ctx context.Context) {
	u := e.publicURL()
	if u == nil {
		return
	}
	subject := u.Host
	found, err := e.addresses(ctx, u.Hostname())
	if err != nil || len(found) == 0 {
		e.fault(subject, "public-dns", "The name does not resolve here.")
		return
	}
	if i := slices.IndexFunc(found, func(a netip.Addr) bool { return !reachable(a) }); i >= 0 {
		e.fault(subject, "public-private", "It leads to %s, which is not a public address.", found[i])
	}
	conn, err := e.o.DialPublic(ctx, "tcp", net.JoinHostPort(u.Hostname(), portOf(u)))
	if err != nil {
		e.fault(subject, "public-unreachable", "No connection can be made to port %s.", portOf(u))
		return
	}
	_ = conn.Close()
	if u.Scheme == "http" {
		e.fault(subject, "public-plain", "It is plain HTTP.")
		return
	}
	e.ok(subject, "It resolves to %d address(es), and takes connections.", len(found))
}

func (e *exam) publicTLS(ctx context.Context) {
	u := e.publicURL()
	if u == nil {
		return
	}
	if u.Scheme != "https" {
		e.skip(u.Host, "not asked: it is plain HTTP")
		return
	}
	conn, err := e.o.DialPublic(ctx, "tcp", net.JoinHostPort(u.Hostname(), portOf(u)))
	if err != nil {
		e.skip(u.Host, "not asked: there is no connection")
		return
	}
	defer func() { _ = conn.Close() }()
	// It is verified below, to say what is wrong with it; nothing is sent over this connection.
	client := tls.Client(conn, &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	if err := client.HandshakeContext(ctx); err != nil {
		e.fault(u.Host, "tls-failed", "No TLS connection can be made: what answers does not speak TLS 1.2 or newer, or refuses the name.")
		return
	}
	e.certificates(u, client.ConnectionState().PeerCertificates)
}

// certificates judges what a server shows.
func (e *exam) certificates(u *url.URL, shown []*x509.Certificate) {
	leaf, now := shown[0], e.o.Now()
	switch {
	case now.After(leaf.NotAfter):
		e.fault(u.Host, "tls-expired", "The certificate expired on %s.", day(leaf.NotAfter))
		return
	case now.Before(leaf.NotBefore):
		e.fault(u.Host, "tls-expired", "The certificate is not valid before %s.", day(leaf.NotBefore))
		return
	case leaf.VerifyHostname(u.Hostname()) != nil:
		e.fault(u.Host, "tls-name", "The certificate is not for this name but for %s.", namesOf(leaf))
		return
	}
	between := x509.NewCertPool()
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: e.o.PublicRoots, Intermediates: between, CurrentTime: now})
	var authority x509.UnknownAuthorityError
	switch {
	case err != nil && leaf.CheckSignatureFrom(leaf) == nil || err != nil && string(leaf.RawIssuer) == string(leaf.RawSubject):
		e.fault(u.Host, "tls-chain", "The certificate is self-signed.")
	case errors.As(err, &authority) && len(shown) == 1:
		e.fault(u.Host, "tls-chain", "The certificate comes without its chain, or is of an authority that is not public.")
	case err != nil:
		e.fault(u.Host, "tls-chain", "The chain leads to no public authority, or one of its certificates is not valid.")
	case leaf.NotAfter.Sub(now) < publicExpiry:
		e.fault(u.Host, "tls-expires", "The certificate expires on %s.", day(leaf.NotAfter))
	default:
		e.ok(u.Host, "The certificate is valid until %s, and its chain is complete.", day(leaf.NotAfter))
	}
}

func namesOf(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name"
	}
	return strings.Join(names[:min(len(names), 5)], ", ")
}

// callbackSlow is how long an answer may take: what is registered should take 300 ms, and
// Planet Cloud's patience is not known (docs/line-planet.md 3.6).
const callbackSlow = 2 * time.Second

// callbacks asks each callback URL as the Console's test button does: without parameters.
func (e *exam) callbacks(ctx context.Context) {
	if e.publicURL() == nil {
		return
	}
	c := newCaller(e.o.PublicRoots, e.o.DialPublic)
	defer c.close()
	var group sync.WaitGroup
	for i := range e.cfg.Projects {
		p := &e.cfg.Projects[i]
		for _, callback := range p.CallbackURLs(e.cfg.Public, e.cfg.Callbacks.Recording, p.CallbackSecret.Reveal()) {
			group.Go(func() { e.callback(ctx, c, p.Name+": "+callback.Path, callback.URL) })
		}
	}
	group.Wait()
}

func (e *exam) callback(ctx context.Context, c *caller, subject, address string) {
	nonce, started := rand.Text(), time.Now()
	response, err := c.ask(ctx, http.MethodGet, address, http.Header{httpapi.NonceHeader: {nonce}})
	if err != nil {
		e.unanswered(subject, err)
		return
	}
	_ = response.Body.Close()
	ours := e.ours(response, nonce)
	status := response.StatusCode
	switch {
	case status >= 300 && status <= 399:
		where, _ := response.Location() // nil if it names none
		e.fault(subject, "callbacks-redirect", "It answers %d and leads to %s.", status, originOf(where))
	case status == http.StatusForbidden && ours:
		e.fault(subject, "callbacks-forbidden", "It is this server, which takes callbacks from callbacks.allow_from only: nothing more can be seen from here.")
	case status == http.StatusNotFound && e.planetbell(ctx, c):
		e.fault(subject, "callbacks-other", "A planetbell answers that does not know this callback secret.")
	case status == http.StatusNotFound:
		e.fault(subject, "callbacks-missing", "It answers 404.")
	case status != http.StatusOK:
		e.fault(subject, "callbacks-failing", "It answers %d.", status)
	case !ours:
		e.fault(subject, "callbacks-other", "Something answers 200 that is not this server.")
	case time.Since(started) > callbackSlow:
		e.fault(subject, "callbacks-slow", "It answers 200, after %s.", time.Since(started).Round(100*time.Millisecond))
	default:
		e.ok(subject, "It answers 200, and it is this server.")
	}
}

// unanswered tells of a callback URL without an answer, unless another check does.
func (e *exam) unanswered(subject string, err error) {
	switch transport.Reason(err) {
	case transport.DNS, transport.Dial:
		e.skip(subject, "not asked: there is no connection")
	case transport.TLS:
		e.skip(subject, "not asked: its secret goes to no server whose certificate is not valid")
	default:
		e.fault(subject, "callbacks-failing", "There is no answer: %s.", why(err))
	}
}

// planetbell reports whether the public address leads to a planetbell at all.
func (e *exam) planetbell(ctx context.Context, c *caller) bool {
	response, err := c.ask(ctx, http.MethodGet, e.cfg.Public.ExternalURL()+"/openapi.yaml", nil)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	return err == nil && response.StatusCode == http.StatusOK && strings.Contains(string(text), "planetbell")
}

// originOf is what may be told of where a redirect leads: its path has the secret.
func originOf(u *url.URL) string {
	if u == nil {
		return "nowhere"
	}
	return u.Scheme + "://" + u.Host
}

// lineSizes are tried, the longest first. Notify's query holds param and app_svr_data, which
// can have 4 KB before they are encoded (docs/line-planet.md 1.5). The last is short: what it does
// not bring is not the length's fault.
var lineSizes = []int{32 << 10, 16 << 10, 8 << 10, 4 << 10, 0}

// requestLine sends HEAD, with which nothing happens whatever the query. HTTP/1.1, as Planet Cloud
// may, where proxies' limits are the tightest.
func (e *exam) requestLine(ctx context.Context) {
	u := e.publicURL()
	if u == nil || len(e.cfg.Projects) == 0 {
		return
	}
	c := newCaller(e.o.PublicRoots, e.o.DialPublic)
	defer c.close()
	p := &e.cfg.Projects[0]
	address := config.CallbackURL{}
	for _, callback := range p.CallbackURLs(e.cfg.Public, false, p.CallbackSecret.Reveal()) {
		if callback.Path == "notify" {
			address = callback
		}
	}
	first := ""
	for _, size := range lineSizes {
		answer, through, done := e.lineOf(ctx, c, address.URL, size)
		switch {
		case done, ctx.Err() != nil: // without an answer in time nothing is known of the length
			return
		case through && first == "":
			e.ok(u.Host, "Request lines of %d KB come through.", size>>10)
			return
		case through && size == 0:
			e.fault(u.Host, "request-line", "A request line of %d KB %s, and none of %d KB comes through; a short one does.", lineSizes[0]>>10, first, lineSizes[len(lineSizes)-2]>>10)
			return
		case through:
			e.fault(u.Host, "request-line", "A request line of %d KB %s; one of %d KB comes through.", lineSizes[0]>>10, first, size>>10)
			return
		case first == "":
			first = answer
		}
	}
	e.skip(u.Host, "not judged: the callback does not answer as it should, see callbacks")
}

// lineOf sends one request line of a size. It comes through if this server answers: what stands in
// front may answer 200 or 403, too. done says that the result was told: there is no way to it.
func (e *exam) lineOf(ctx context.Context, c *caller, address string, size int) (answer string, through, done bool) {
	nonce := rand.Text()
	query := "?doctor=" + strings.Repeat("a", max(size-len(address), 1))
	response, err := c.ask(ctx, http.MethodHead, address+query, http.Header{httpapi.NonceHeader: {nonce}})
	if err != nil {
		switch transport.Reason(err) {
		case transport.DNS, transport.Dial, transport.TLS:
			e.skip("", "not asked: see public-address and public-tls")
			return "", false, true
		}
		if late(err) {
			return "is not answered in time", false, false
		}
		return "breaks the connection", false, false
	}
	_ = response.Body.Close()
	switch {
	case !e.ours(response, nonce):
		return fmt.Sprintf("is answered %d, by something in front of this server", response.StatusCode), false, false
	case response.StatusCode != http.StatusOK && response.StatusCode != http.StatusForbidden:
		return fmt.Sprintf("is answered %d", response.StatusCode), false, false
	}
	return "", true, false
}
