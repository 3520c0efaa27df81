package e2e

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/doctor"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/store/sqlite"
	"github.com/planetbell/planetbell/planet"
)

// nowhere is an address on which nothing listens: a reserved port, which no program takes.
const nowhere = "127.0.0.1:1"

// brokenSetUp is a set-up with one thing wrong, and what has to be found by the checks.
type brokenSetUp struct {
	name   string
	checks string // names, with blanks
	found  string // levels and faults, with commas
	break_ func(v *visit)
}

// In a good set-up nothing is found; in each broken one what is wrong with it, and nothing else.
func TestDoctor(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	t.Run("good", func(t *testing.T) {
		t.Parallel()
		v := c.visit(t)
		v.project().WebPush = config.WebPush{VAPIDPrivateKey: bell.NewVAPIDKey(), VAPIDSubject: "mailto:ops@example.com", Hosts: []string{"*.push.apple.com"}}
		faults, results := v.examine()
		if len(faults) > 0 {
			t.Errorf("found %q in\n%+v", faults, results)
		}
		for _, name := range doctor.Names() {
			if !strings.Contains("bus events hooks", name) && !isOK(results, name) {
				t.Errorf("the check %s is not ok: %+v", name, results)
			}
		}
	})
	for _, group := range [][]brokenSetUp{brokenApple(), brokenGoogle(), brokenLINE(), brokenPublic(), brokenMachine(), brokenNeighbours()} {
		for _, b := range group {
			t.Run(b.name, func(t *testing.T) {
				t.Parallel()
				v := c.visit(t)
				b.break_(v)
				found, results := v.examine(strings.Fields(b.checks)...)
				if diff := cmp.Diff(strings.Split(b.found, ", "), found); diff != "" {
					t.Errorf("-want +found:\n%s\n%+v", diff, results)
				}
			})
		}
	}
}

func isOK(results []doctor.Result, name string) bool {
	for _, r := range results {
		if r.Name == name && r.Level == doctor.OK {
			return true
		}
	}
	return false
}

func brokenApple() []brokenSetUp {
	return []brokenSetUp{
		{"revoked key", "apns", "error apns-key", func(v *visit) { v.key("REVOKED001", nil) }},
		{"wrong team", "apns", "error apns-key", func(v *visit) { v.project().APNs[0].TeamID = "OTHERTEAM1" }},
		{"wrong topic", "apns", "error apns-topic", func(v *visit) {
			v.key("TOPICKEY01", func(k *sim.APNsKey) { k.Topics = []string{"com.example.other"} })
		}},
		{"sandbox key on production", "apns", "error apns-environment", func(v *visit) {
			v.key("SANDBOXKEY", func(k *sim.APNsKey) { k.Environment = sim.APNsSandbox })
		}},
		{"key that is none", "apns", "error apns-credential", func(v *visit) {
			v.project().APNs[0].Key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"
		}},
		{"expired certificate", "apns", "error apns-expired", func(v *visit) {
			v.certificateOf(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
		}},
		{"certificate that expires soon", "apns", "error apns-key, warning apns-expires", func(v *visit) {
			// The simulator finds no topics in it.
			v.certificateOf(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(20 * 24 * time.Hour) })
		}},
		{"APNs unreachable", "apns", "error apns-unreachable", func(v *visit) {
			v.project().APNs[0].Servers, v.project().APNs[0].ProductionURL = []bell.APNsServer{bell.APNsProduction}, "https://"+nowhere
		}},
		{"APNs behind a middlebox", "apns", "error apns-tls", func(v *visit) {
			v.project().APNs[0].Servers, v.project().APNs[0].ProductionURL = []bell.APNsServer{bell.APNsProduction}, "https://"+v.front
		}},
	}
}

func brokenGoogle() []brokenSetUp {
	return []brokenSetUp{
		{"revoked service account", "fcm", "error fcm-grant", func(v *visit) { v.anotherKey() }},
		{"another Firebase project", "fcm", "error fcm-permission, warning fcm-project", func(v *visit) {
			v.account(`"project_id": "`+v.World.Settings().FCMProject+`"`, `"project_id": "somebody-elses"`)
		}},
		{"service account that is none", "fcm", "error fcm-credential", func(v *visit) { v.project().FCM.ServiceAccount = "{}" }},
		{"Google's token server unwell", "fcm", "warning fcm-unwell", func(v *visit) { v.tokensFrom(http.StatusServiceUnavailable) }},
		{"Google's token server too busy", "fcm", "warning fcm-unwell", func(v *visit) { v.tokensFrom(http.StatusTooManyRequests) }},
		{"Google's token server that is none", "fcm", "error fcm-strange", func(v *visit) { v.tokensFrom(http.StatusOK) }},
		{"Google's token server away", "fcm", "error fcm-unreachable", func(v *visit) { v.tokensAt("https://" + nowhere) }},
		{"FCM unreachable", "fcm", "error fcm-unreachable", func(v *visit) { v.project().FCM.BaseURL = "https://" + nowhere }},
		{"FCM behind a middlebox", "fcm", "error fcm-tls", func(v *visit) { v.project().FCM.BaseURL = "https://" + v.front }},
	}
}

func brokenLINE() []brokenSetUp {
	return []brokenSetUp{
		{"placeholders", "line", "error line-placeholder", func(v *visit) { v.project().APIKey = config.PlaceholderAPIKey }},
		{"key and secret swapped", "line server-api", "error line-refused, error line-swapped", func(v *visit) {
			p := v.project()
			p.APIKey, p.APISecret = p.APISecret.Reveal(), planet.Secret(p.APIKey)
		}},
		{"malformed secret", "line server-api", "error line-refused, error line-secret", func(v *visit) { v.project().APISecret += " \n" }},
		{"one pair for two environments", "line", "warning line-shared", func(v *visit) {
			second := *v.project()
			second.Name, second.Environment = "second", planet.Real
			v.cfg.Projects = append(v.cfg.Projects, second)
		}},
		{"host of the other environment", "line", "warning line-host", func(v *visit) { v.project().ServerAPIURL = planet.Real.APIBaseURL() }},
		{"wrong API key", "server-api", "error line-refused", func(v *visit) { v.project().APIKey = "another-api-key" }},
		{"wrong service", "server-api", "error line-forbidden", func(v *visit) { v.project().ServiceID = "another-service" }},
		{"Server API unreachable", "server-api", "error line-unreachable", func(v *visit) { v.project().ServerAPIURL = "https://" + nowhere }},
		{"clock an hour off", "clock", "error clock-wrong", func(v *visit) {
			v.o.Now = func() time.Time { return time.Now().Add(time.Hour) }
		}},
		{"clock ten seconds off", "clock", "warning clock-off", func(v *visit) {
			v.o.Now = func() time.Time { return time.Now().Add(-10 * time.Second) }
		}},
		{"nobody to ask for the time", "clock", "warning clock-unknown", func(v *visit) {
			v.project().ServerAPIURL, v.project().FCM = "https://"+nowhere, config.FCM{}
		}},
	}
}

func brokenPublic() []brokenSetUp {
	named := func() *x509.Certificate { return &x509.Certificate{DNSNames: []string{publicName}} }
	const seen = "public-address public-tls callbacks request-line"
	return []brokenSetUp{
		{"no base_url", seen, "warning public-unset", func(v *visit) { v.cfg.Public.BaseURL = "" }},
		{"name that does not resolve", "public-address", "error public-dns", func(v *visit) { v.cfg.Public.BaseURL = "https://calls.planetbell.invalid" }},
		{"private address", seen, "warning public-private", func(v *visit) {
			v.o.Lookup = func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("10.0.0.7")}, nil
			}
		}},
		{"nothing listens", seen, "error public-unreachable", func(v *visit) { v.leadTo(nowhere) }},
		{"certificate of another name", seen, "error tls-name", func(v *visit) {
			v.showing(v.signer.shows(v.t, &x509.Certificate{DNSNames: []string{"other.example"}}, true))
		}},
		{"expired public certificate", seen, "error tls-expired", func(v *visit) {
			c := named()
			c.NotAfter = time.Now().Add(-time.Hour)
			v.showing(v.signer.shows(v.t, c, true))
		}},
		{"public certificate that expires soon", seen, "warning tls-expires", func(v *visit) {
			c := named()
			c.NotAfter = time.Now().Add(5 * 24 * time.Hour)
			v.showing(v.signer.shows(v.t, c, true))
		}},
		{"certificate without its chain", seen, "error tls-chain", func(v *visit) { v.showing(v.signer.shows(v.t, named(), false)) }},
		{"self-signed certificate", seen, "error tls-chain", func(v *visit) {
			key := newECKey(v.t)
			own := v.signer.make(v.t, named(), nil, key)
			v.showing(tls.Certificate{Certificate: [][]byte{own.Raw}, PrivateKey: key})
		}},
		{"no TLS at an https address", "public-tls", "error tls-failed", func(v *visit) { v.leadTo(v.cfg.Public.Address) }},
		{"plain HTTP", seen, "warning public-plain", func(v *visit) {
			v.cfg.Public.BaseURL = "http://" + publicName
			v.leadTo(v.cfg.Public.Address)
		}},
		{"proxy that cuts request lines", seen, "error request-line", func(v *visit) {
			v.leadTo(v.proxy(v.t, v.signer.shows(v.t, named(), true), v.pass(v.t), 8<<10))
		}},
		{"firewall that forbids long queries", seen, "error request-line", func(v *visit) { v.screened(http.StatusForbidden) }},
		{"firewall that answers long queries itself", seen, "error request-line", func(v *visit) { v.screened(http.StatusOK) }},
		{"another server that takes everything", seen, "error callbacks-other", func(v *visit) { v.behind(func(http.ResponseWriter, *http.Request) {}) }},
		{"server of another configuration", "callbacks", "error callbacks-other", func(v *visit) {
			v.cfg.AppTokens.SigningKey = planet.Secret(secret("another signing key", 64))
		}},
		{"callback secret that the server does not have", "callbacks", "error callbacks-other", func(v *visit) {
			v.project().CallbackSecret = planet.Secret(secret("another callback secret", 40))
		}},
		{"callbacks that are not passed on", seen, "error callbacks-missing", func(v *visit) { v.behind(http.NotFound) }},
		{"redirect", "callbacks", "error callbacks-redirect", func(v *visit) {
			v.behind(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://www.planetbell.example"+r.URL.Path, http.StatusMovedPermanently)
			})
		}},
		{"proxy without its server", "callbacks", "error callbacks-failing", func(v *visit) {
			v.behind(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		}},
	}
}

func brokenMachine() []brokenSetUp {
	return []brokenSetUp{
		{"folder that cannot be written", "machine", "error data-dir", func(v *visit) {
			if runtime.GOOS != "linux" {
				v.t.Skip("needs /proc")
			}
			v.cfg.DataDir = "/proc"
		}},
		{"full disk", "machine", "warning disk-space", func(v *visit) {
			v.o.Space = func(string) (uint64, uint64, error) { return 500 << 20, 100 << 30, nil }
		}},
		{"few files", "machine", "warning file-limit", func(v *visit) { v.o.FileLimit = func() (uint64, error) { return 1024, nil } }},
		{"key that the group reads", "machine", "warning file-mode", func(v *visit) {
			file := v.write("key.p8", nil)
			if err := os.Chmod(file, 0o640); err != nil {
				v.t.Fatal(err)
			}
			v.project().APNs[0].KeyFile = file
		}},
		{"port of another program", "listeners", "error port-taken", func(v *visit) {
			other := httptest.NewServer(http.NotFoundHandler())
			v.t.Cleanup(other.Close)
			v.cfg.Public.Address = other.Listener.Addr().String()
		}},
		{"admin port of another planetbell", "listeners", "error port-taken", func(v *visit) {
			other := play(v.t, configured(func(c *config.Config) { c.AppTokens.SigningKey = planet.Secret(secret("of another planetbell", 64)) }))
			v.cfg.Admin.Address = strings.TrimPrefix(other.App.AdminURL(), "http://")
		}},
		{"address of another machine", "listeners", "error port-address", func(v *visit) { v.cfg.Public.Address = "203.0.113.9:8080" }},
		{"exposed admin listener", "listeners", "warning admin-exposed", func(v *visit) { v.cfg.Admin.Address = ":0" }},
		{"newer database", "database", "error database-newer", func(v *visit) { v.cfg.Database.Path = v.newer(`PRAGMA user_version = 99999`) }},
		{"database that went ahead", "database", "warning database-ahead", func(v *visit) { v.cfg.Database.Path = v.newer() }},
		{"file that is no database", "database", "error database-down", func(v *visit) {
			v.cfg.Database.Path = v.write("planetbell.db", []byte(strings.Repeat("no database ", 1000)))
		}},
		{"PostgreSQL down", "database bus", "error bus-down, error database-down", func(v *visit) {
			v.cfg.Database.URL = planet.Secret("postgres://user:" + secret("password", 40) + "@" + nowhere + "/planetbell")
		}},
		{"NATS down", "bus", "error bus-down", func(v *visit) {
			v.cfg.Database.URL, v.cfg.Bus.URL = "postgres://"+nowhere+"/planetbell", planet.Secret("nats://user:"+secret("password", 40)+"@"+nowhere)
		}},
	}
}

func brokenNeighbours() []brokenSetUp {
	web := func(v *visit) *config.WebPush {
		v.project().WebPush = config.WebPush{VAPIDPrivateKey: bell.NewVAPIDKey(), VAPIDSubject: "mailto:ops@example.com"}
		return &v.project().WebPush
	}
	events := func(v *visit, address string) {
		v.project().Events = []config.Endpoint{{Name: "main", URL: planet.Secret(address)}}
		v.cfg.Webhooks.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	return []brokenSetUp{
		{"VAPID subject", "web-push", "error web-push-subject", func(v *visit) { web(v).VAPIDSubject = "mailto:ops@localhost" }},
		{"VAPID key", "web-push", "error web-push-keys", func(v *visit) { web(v).VAPIDPrivateKey = "short" }},
		{"push services of everybody", "web-push", "warning web-push-hosts", func(v *visit) { web(v).Hosts = []string{"*.com", "localhost:8080"} }},
		{"push service unreachable", "web-push", "error web-push-unreachable", func(v *visit) { web(v).Hosts = []string{"push.planetbell.invalid"} }},
		{"push service that is private", "web-push", "error web-push-private", func(v *visit) {
			web(v).Hosts, web(v).AllowPrivate = []string{"127.0.0.1:1"}, nil
		}},
		{"endpoint that is down", "events", "error endpoint-unreachable", func(v *visit) { events(v, "https://"+nowhere+"/"+secret("hook", 40)) }},
		{"endpoint that is private", "events", "error endpoint-private", func(v *visit) {
			events(v, "https://"+nowhere)
			v.cfg.Webhooks.AllowPrivate = nil
		}},
		{"endpoint of an unknown authority", "events", "error endpoint-tls", func(v *visit) { events(v, "https://"+v.front) }},
		{"policy hook that is unwell", "hooks", "warning endpoint-failing", func(v *visit) {
			unwell := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
			v.t.Cleanup(unwell.Close)
			v.project().PolicyHook.URL = unwell.URL
		}},
		{"server that says nothing", "callbacks", "error callbacks-failing", func(v *visit) {
			v.o.DialPublic = func(context.Context, string, string) (net.Conn, error) {
				here, there := net.Pipe()
				return here, there.Close()
			}
		}},
	}
}

// anotherKey gives the service account a key that Google does not know.
func (v *visit) anotherKey() {
	v.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		v.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		v.t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal([]byte(v.project().FCM.ServiceAccount.Reveal()), &file); err != nil {
		v.t.Fatal(err)
	}
	file["private_key"] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	text, err := json.Marshal(file)
	if err != nil {
		v.t.Fatal(err)
	}
	v.project().FCM.ServiceAccount = planet.Secret(text)
}

// newer makes a database with a migration that this program does not know.
func (v *visit) newer(more ...string) string {
	v.t.Helper()
	path := filepath.Join(v.t.TempDir(), "planetbell.db")
	if _, err := sqlite.NewMigrations(path).Up(v.t.Context()); err != nil {
		v.t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, statement := range append(more, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`) {
		if _, e := db.ExecContext(v.t.Context(), statement); e != nil {
			err = errors.Join(err, e)
		}
	}
	if err := errors.Join(err, db.Close()); err != nil {
		v.t.Fatal(err)
	}
	return path
}
