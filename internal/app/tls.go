package app

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/planetbell/planetbell/internal/config"
)

// publicTLS returns the public listener's TLS settings, or nil for plain HTTP.
func publicTLS(c config.PublicTLS, log *slog.Logger) (*tls.Config, error) {
	switch {
	case !c.Enabled():
		return nil, nil
	case c.ACME.Enabled():
		return acmeTLS(c.ACME), nil
	}
	return fileTLS(c.CertificateFile, c.KeyFile, log)
}

// acmeTLS gets certificates by TLS-ALPN-01 (RFC 8737), which needs no second port.
func acmeTLS(c config.ACME) *tls.Config {
	m := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(c.CacheDir),
		HostPolicy: autocert.HostWhitelist(c.Domains...),
		Email:      c.Email,
	}
	if c.DirectoryURL != "" {
		m.Client = &acme.Client{DirectoryURL: c.DirectoryURL}
	}
	t := m.TLSConfig() // names h2, http/1.1 and acme-tls/1
	t.MinVersion = tls.VersionTLS12
	return t
}

// fileTLS serves a certificate from files and takes up a renewed one without a restart.
func fileTLS(certFile, keyFile string, log *slog.Logger) (*tls.Config, error) {
	f := &certificateFiles{cert: certFile, key: keyFile, now: time.Now, log: log}
	if err := f.load(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.current(), nil },
	}, nil
}

// lookEvery is how often certificate files are looked at for a change.
const lookEvery = time.Minute

// certificateFiles is a certificate that may be replaced on disk.
type certificateFiles struct {
	cert, key string
	now       func() time.Time
	log       *slog.Logger

	mu      sync.Mutex // guards all below
	loaded  *tls.Certificate
	changed time.Time // of the certificate file, when it was loaded
	looked  time.Time
}

func (f *certificateFiles) load() error {
	info, err := os.Stat(f.cert)
	if err != nil {
		return fmt.Errorf("certificate file: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", f.cert, f.key, err)
	}
	f.loaded, f.changed, f.looked = &pair, info.ModTime(), f.now()
	return nil
}

// current returns the newest certificate that could be loaded. A broken new one leaves
// the old in use: it may still be valid, and no certificate at all would end every call.
func (f *certificateFiles) current() *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now().Sub(f.looked) < lookEvery {
		return f.loaded
	}
	f.looked = f.now()
	info, err := os.Stat(f.cert)
	if err == nil && info.ModTime().Equal(f.changed) {
		return f.loaded
	}
	if err == nil {
		err = f.load()
	}
	if err != nil {
		f.log.Error("a renewed certificate cannot be used; the old one stays until it can", "error", err, "until", f.loaded.Leaf.NotAfter)
	} else {
		f.log.Info("a renewed certificate is in use", "file", f.cert, "until", f.loaded.Leaf.NotAfter)
	}
	return f.loaded
}
