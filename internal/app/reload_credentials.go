package app

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/planet"
)

// appleCredentials are the apns entries of a project that have one credential: one entry,
// or several with one signing key, which share connections.
type appleCredentials struct {
	builder *builder
	project config.Project // with its own copy of APNs
	entries []int          // of project.APNs
}

// appleGroups sorts a project's apns entries by credential.
func appleGroups(b *builder, p *config.Project) []*appleCredentials {
	var groups []*appleCredentials
	byKey := map[string]*appleCredentials{}
	for i := range p.APNs {
		c := &p.APNs[i]
		key := c.TeamID + " " + c.KeyID
		if g := byKey[key]; g != nil && c.Key != "" {
			g.entries = append(g.entries, i)
			continue
		}
		g := &appleCredentials{builder: b, project: *p, entries: []int{i}}
		g.project.APNs = slices.Clone(p.APNs)
		groups = append(groups, g)
		if c.Key != "" {
			byKey[key] = g
		}
	}
	return groups
}

// Name implements credential.
func (a *appleCredentials) Name() string {
	return appleName(&a.project, &a.project.APNs[a.entries[0]])
}

// Adopt implements credential. An entry that stands for another app now is not taken over.
func (a *appleCredentials) Adopt(cfg *config.Config) {
	p := projectOf(cfg, a.project.Name)
	for _, i := range a.entries {
		if p == nil || i >= len(p.APNs) || p.APNs[i].BundleID != a.project.APNs[i].BundleID {
			continue
		}
		from, to := p.APNs[i], &a.project.APNs[i]
		to.TeamID, to.KeyID, to.Key, to.KeyFile = from.TeamID, from.KeyID, from.Key, from.KeyFile
		to.CertificateFile, to.CertificateKeyFile = from.CertificateFile, from.CertificateKeyFile
		to.P12File, to.P12Password, to.P12PasswordFile = from.P12File, from.P12Password, from.P12PasswordFile
	}
}

func projectOf(cfg *config.Config, name string) *config.Project {
	for i := range cfg.Projects {
		if cfg.Projects[i].Name == name {
			return &cfg.Projects[i]
		}
	}
	return nil
}

// Read implements credential.
func (a *appleCredentials) Read() (fingerprint, error) {
	h := sha256.New()
	for _, i := range a.entries {
		if err := readApple(h, &a.project.APNs[i]); err != nil {
			return fingerprint{}, fmt.Errorf("apns[%d] (%s): %w", i, a.project.APNs[i].BundleID, err)
		}
	}
	return fingerprint(h.Sum(nil)), nil
}

// readApple reads the files of an entry into it, or only into h what is read again later.
func readApple(h hash.Hash, c *config.APNs) error {
	for _, f := range []struct {
		name string
		into *planet.Secret
	}{{c.KeyFile, &c.Key}, {c.P12PasswordFile, &c.P12Password}} {
		if err := readSecret(h, f.name, f.into); err != nil {
			return err
		}
	}
	for _, name := range []string{c.CertificateFile, c.CertificateKeyFile, c.P12File} {
		if name == "" {
			continue
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read a push certificate: %w", err)
		}
		part(h, string(content))
	}
	part(h, c.TeamID+" "+c.KeyID)
	return nil
}

// readSecret reads a secret's file, if it has one, and hashes the secret.
func readSecret(h hash.Hash, name string, into *planet.Secret) error {
	if name != "" {
		secret, err := config.ReadSecret(name)
		if err != nil {
			return err
		}
		*into = secret
	}
	part(h, into.Reveal())
	return nil
}

// part hashes a text so that two texts are not taken for two others.
func part(h hash.Hash, text string) {
	_, _ = fmt.Fprintf(h, "%d:", len(text)) // a hash takes everything
	_, _ = io.WriteString(h, text)
}

// Build implements credential. A certificate that is good for less than the old one is
// refused: devices would ring no more.
func (a *appleCredentials) Build() (*replacement, error) {
	b := a.builder.fresh()
	r := &replacement{}
	old := b.senders.project(a.project.Name).apps
	apps := map[int]appleApp{}
	for _, i := range a.entries {
		app, err := b.apple(&a.project, &a.project.APNs[i])
		r.clients = b.made
		if err == nil {
			err = app.covers(old[i])
		}
		if err != nil {
			r.close()
			return nil, fmt.Errorf("apns[%d] (%s): %w", i, a.project.APNs[i].BundleID, err)
		}
		apps[i] = app
		for _, sender := range old[i].senders {
			r.replaces(b.senders, sender)
		}
	}
	r.take = func(projects map[string]projectSenders) {
		p := projects[a.project.Name]
		p.apps = slices.Clone(p.apps)
		for i, app := range apps {
			p.apps[i] = p.apps[i].leadTo(app)
		}
		projects[a.project.Name] = p
	}
	return r, nil
}

// replaces notes the client that a relay leads to.
func (r *replacement) replaces(s *senders, sender delivery.Sender) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if l := sender.(*relay).lease; !slices.Contains(r.old, l) {
		r.old = append(r.old, l)
	}
}

// covers fails when a can do less than before.
func (a appleApp) covers(before appleApp) error {
	for way := range before.senders {
		if a.senders[way] == nil {
			return bell.E(bell.Invalid, fmt.Sprintf("the new credential cannot ring by %s, and the old one can; restart the server if that is meant", way.channel), nil)
		}
	}
	return nil
}

// leadTo leads the relays of a to the clients of next, and returns next with them. The
// senders' mutex is held.
func (a appleApp) leadTo(next appleApp) appleApp {
	for way, sender := range next.senders {
		if held := a.senders[way]; held != nil {
			held.(*relay).sender, held.(*relay).lease = sender.(*relay).sender, sender.(*relay).lease
			next.senders[way] = held
		}
	}
	return next
}

// googleCredential is a project's service account.
type googleCredential struct {
	builder  *builder
	project  config.Project
	firebase string // the Firebase project
}

// Name implements credential.
func (g *googleCredential) Name() string { return g.project.Name }

// Adopt implements credential.
func (g *googleCredential) Adopt(cfg *config.Config) {
	if p := projectOf(cfg, g.project.Name); p != nil && p.FCM.Enabled() {
		g.project.FCM.ServiceAccount, g.project.FCM.ServiceAccountFile = p.FCM.ServiceAccount, p.FCM.ServiceAccountFile
	}
}

// Read implements credential.
func (g *googleCredential) Read() (fingerprint, error) {
	h := sha256.New()
	if err := readSecret(h, g.project.FCM.ServiceAccountFile, &g.project.FCM.ServiceAccount); err != nil {
		return fingerprint{}, fmt.Errorf("service_account_file: %w", err)
	}
	return fingerprint(h.Sum(nil)), nil
}

// errOtherProject refuses a service account whose messages would reach none of the devices.
var errOtherProject = errors.New("the new service account is of another Firebase project, where no push token of the old one is valid; restart the server if that is meant")

// Build implements credential.
func (g *googleCredential) Build() (*replacement, error) {
	b := g.builder.fresh()
	next, firebase, err := b.google(&g.project)
	if err != nil {
		return nil, err
	}
	r := &replacement{clients: b.made}
	if firebase != g.firebase {
		r.close()
		return nil, errOtherProject
	}
	held := b.senders.project(g.project.Name).fcm.Sender.(*relay)
	r.replaces(b.senders, held)
	r.take = func(map[string]projectSenders) { held.sender, held.lease = next.sender, next.lease }
	return r, nil
}
