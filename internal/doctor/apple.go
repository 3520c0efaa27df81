package doctor

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/app"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/push/apns"
)

// pushExpiry is how long before its end a push certificate is warned of: Apple's live a year,
// and a new one needs somebody with rights in the developer account.
const pushExpiry = 30 * 24 * time.Hour

// apple looks at each credential, and asks APNs about each topic in each environment.
func (e *exam) apple(ctx context.Context) {
	roots, ok := e.roots()
	if !ok {
		return
	}
	var group sync.WaitGroup
	found := false
	for i := range e.cfg.Projects {
		p := &e.cfg.Projects[i]
		for j := range p.APNs {
			found = true
			group.Go(func() { e.appleCredential(ctx, p, &p.APNs[j], roots) })
		}
	}
	group.Wait()
	if !found {
		e.skip("", "no project has a credential for APNs")
	}
}

// roots are the authorities of providers' certificates.
func (e *exam) roots() (*x509.CertPool, bool) {
	roots, err := app.ProviderRoots(e.cfg.CAFile)
	if err != nil {
		e.fault("ca_file", "config-invalid", "The file of further authorities cannot be read.")
		return nil, false
	}
	return roots, true
}

func (e *exam) appleCredential(ctx context.Context, p *config.Project, c *config.APNs, roots *x509.CertPool) {
	subject := p.Name + ": " + c.BundleID
	credential, err := app.AppleCredential(c)
	if err != nil {
		e.fault(subject, "apns-credential", "The credential cannot be used: %s.", strings.TrimSuffix(err.Error(), "."))
		return
	}
	now := e.o.Now()
	switch until := credential.NotAfter(); {
	case until.IsZero():
		e.ok(subject, "The signing key %s of team %s is an EC P-256 key.", c.KeyID, c.TeamID)
	case now.After(until):
		e.fault(subject, "apns-expired", "The push certificate expired on %s.", day(until))
		return
	case until.Sub(now) < pushExpiry:
		e.fault(subject, "apns-expires", "The push certificate expires on %s.", day(until))
	default:
		e.ok(subject, "The push certificate is valid until %s, for %s.", day(until), topics(credential))
	}
	if e.o.Local {
		return
	}
	var group sync.WaitGroup
	for _, server := range c.Servers {
		group.Go(func() { e.appleServer(ctx, p, c, credential, server, roots) })
	}
	group.Wait()
}

func topics(c apns.Credential) string {
	if list := c.Topics(); len(list) > 0 {
		return strings.Join(list, ", ")
	}
	return "topics that it does not name"
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }

// appleServer asks one APNs server about the topics of an app.
func (e *exam) appleServer(ctx context.Context, p *config.Project, c *config.APNs, credential apns.Credential, server bell.APNsServer, roots *x509.CertPool) {
	base := fmt.Sprintf("%s: %s, %s", p.Name, c.BundleID, server)
	url := map[bell.APNsServer]string{bell.APNsProduction: c.ProductionURL, bell.APNsSandbox: c.SandboxURL}[server]
	client, err := apns.NewClient(apns.Config{
		Name: "doctor", Server: server, Credential: credential, BaseURL: url, RootCAs: roots, Connections: 1,
		AttemptTimeout: askTime, VoIPExpiration: c.VoIPExpiration, Clock: e.o.Now,
	})
	if err != nil {
		e.fault(base, "apns-credential", "No client can be made of it: %s.", strings.TrimSuffix(err.Error(), "."))
		return
	}
	defer client.Close()
	asked := 0
	var refused error
	for _, channel := range []bell.Channel{bell.APNsVoIP, bell.APNsAlert} {
		topic := c.BundleID
		if channel == bell.APNsVoIP {
			topic += ".voip"
		}
		outcome, err := client.Probe(ctx, c.BundleID, channel)
		if err != nil {
			refused = err
			continue // a certificate may be good for one of the two only
		}
		asked++
		e.appleAnswer(fmt.Sprintf("%s: %s, %s", p.Name, topic, server), outcome)
		if outcome.Status == 0 {
			return // the other topic takes the same connection
		}
	}
	if asked == 0 {
		e.fault(base, "apns-topic", "The credential is for neither topic: %s.", strings.TrimSuffix(refused.Error(), "."))
	}
}

// appleFaults are what the reasons of APNs mean for a credential (docs/push-providers.md 1.6).
var appleFaults = map[string]string{
	"InvalidProviderToken": "apns-key", "UnrelatedKeyIdInToken": "apns-key", "MissingProviderToken": "apns-key",
	"BadCertificate":             "apns-key",
	"BadEnvironmentKeyIdInToken": "apns-environment", "BadEnvironmentKeyInToken": "apns-environment", "BadCertificateEnvironment": "apns-environment",
	"ExpiredProviderToken": "apns-clock",
	"TopicDisallowed":      "apns-topic", "BadTopic": "apns-topic", "MissingTopic": "apns-topic", "DeviceTokenNotForTopic": "apns-topic",
	"Forbidden": "apns-forbidden",
	"tls":       "apns-tls",
}

func (e *exam) appleAnswer(subject string, o bell.Outcome) {
	if apns.Answered(o) {
		e.ok(subject, "APNs takes the credential.")
		return
	}
	name := appleFaults[o.Reason]
	switch {
	case name != "":
	case o.Status == 0:
		name = "apns-unreachable"
	case o.Status >= 500, o.Status == 429:
		name = "apns-unwell"
	default:
		name = "apns-strange"
	}
	e.fault(subject, name, "%s", said(o))
}

// said is what came of asking a provider, in a sentence.
func said(o bell.Outcome) string {
	if o.Status == 0 {
		return o.Detail
	}
	return fmt.Sprintf("Answered %d %s. %s", o.Status, o.Reason, o.Detail)
}
