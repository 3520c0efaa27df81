package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/planet"
)

// server is the product, in this process, with its users.
type server struct {
	url     string
	secret  string
	service string
	tokens  []string // push token of each user
	client  *http.Client
	next    atomic.Int64
	urls    []string      // of all nodes, if there are several
	placed  *atomic.Int64 // counts calls, if not nil
	end     func() error
}

func startServer(ctx context.Context, s settings, fake *provider) (*server, error) {
	cfg, err := configuration(s, fake)
	if err != nil {
		return nil, err
	}
	return startConfigured(ctx, s, cfg, fake)
}

func startConfigured(ctx context.Context, s settings, cfg config.Config, fake *provider) (*server, error) {
	a, end, err := startApp(ctx, cfg)
	if err != nil {
		return nil, err
	}
	srv := &server{
		url: a.PublicURL(), secret: cfg.Projects[0].CallbackSecret.Reveal(), service: cfg.Projects[0].ServiceID,
		client: newClient(), end: end,
	}
	err = srv.addUsers(ctx, a.AdminURL(), cfg, s.devices)
	if err == nil {
		err = srv.ringOnce(ctx, fake)
	}
	if err != nil {
		_ = srv.stop()
		return nil, err
	}
	return srv, nil
}

func configuration(s settings, fake *provider) (config.Config, error) {
	key, err := signingKey()
	if err != nil {
		return config.Config{}, err
	}
	ca := filepath.Join(s.folder, "ca.pem")
	if err := fake.ca.WriteFile(ca); err != nil {
		return config.Config{}, err
	}
	cfg := config.Default()
	cfg.DataDir = s.folder
	cfg.Database.Path = filepath.Join(s.folder, "bench.db")
	cfg.CAFile = ca
	cfg.Public.Address, cfg.Admin.Address = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Admin.Token, cfg.AppTokens.SigningKey = secret(), secret()
	p := config.DefaultProject()
	p.Name, p.Environment, p.ServiceID = "bench", planet.Evaluation, "bench-service"
	p.APIKey, p.APISecret, p.ClientKey, p.CallbackSecret = "bench-key", secret(), secret(), secret()
	apns := config.DefaultAPNs()
	apns.BundleID, apns.TeamID, apns.KeyID, apns.Key = "com.example.bench", "BENCHTEAM0", "BENCHKEY00", key
	apns.ProductionURL, apns.SandboxURL = fake.url(), fake.url()
	apns.Servers = []bell.APNsServer{bell.APNsProduction}
	p.APNs = []config.APNs{apns}
	cfg.Projects = []config.Project{p}
	return cfg, nil
}

func signingKey() (planet.Secret, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return planet.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

func secret() planet.Secret {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return planet.Secret(hex.EncodeToString(b))
}

// addUsers gives each user one iOS device through the admin API.
func (s *server) addUsers(ctx context.Context, admin string, cfg config.Config, n int) error {
	for i := range n {
		token := fmt.Sprintf("%064x", i+1)
		err := addDevice(ctx, s.client, admin, cfg.Admin.Token, map[string]string{
			"project": "bench", "user_id": userID(i), "channel": string(bell.APNsVoIP),
			"push_token": token, "apns_server": string(bell.APNsProduction),
		})
		if err != nil {
			return err
		}
		s.tokens = append(s.tokens, token)
	}
	return nil
}

// ringOnce rings every device once, and no measurement sees it: the first accepted push of
// a device writes that its APNs server is confirmed, once in its life.
func (s *server) ringOnce(ctx context.Context, fake *provider) error {
	var t times
	for user := range s.tokens {
		if err := t.call(ctx, s, fake, user, time.Now()); err != nil {
			return fmt.Errorf("the first ring of all devices: %w", err)
		}
	}
	return nil
}

func userID(i int) string { return fmt.Sprintf("user-%d", i) }

// param is as long as the shorter sample of LINE's documentation.
var param = strings.Repeat("eyJhIjoi", 23)

// notify sends one Notify for the next user, and returns that user's number.
func (s *server) notify(ctx context.Context, user int) error {
	q := url.Values{
		"sid": {fmt.Sprintf("00000000-0000-4000-8000-%012x", s.next.Add(1))}, "from_service_id": {s.service}, "from_user_id": {"caller"},
		"to_service_id": {s.service}, "to_user_id": {userID(user)}, "type": {"A"}, "param": {param},
	}
	url := s.url
	if len(s.urls) > 0 {
		url = s.urls[int(s.next.Load())%len(s.urls)]
	}
	if s.placed != nil {
		s.placed.Add(1)
	}
	return get(ctx, s.client, url+"/cb/"+s.secret+"/notify?"+q.Encode())
}

func (s *server) stop() error {
	s.client.CloseIdleConnections()
	return s.end()
}
