package doctor

import (
	"context"
	"crypto/x509"
	"strings"
	"sync"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/push/fcm"
)

// firebase looks at each service account, and asks Google about it.
func (e *exam) firebase(ctx context.Context) {
	roots, ok := e.roots()
	if !ok {
		return
	}
	var group sync.WaitGroup
	found := false
	for i := range e.cfg.Projects {
		if p := &e.cfg.Projects[i]; p.FCM.Enabled() {
			found = true
			group.Go(func() { e.googleAccount(ctx, p, roots) })
		}
	}
	group.Wait()
	if !found {
		e.skip("", "no project has a service account of Firebase")
	}
}

func (e *exam) googleAccount(ctx context.Context, p *config.Project, roots *x509.CertPool) {
	subject := p.Name + ": service account"
	account, err := fcm.ReadAccount(p.FCM.ServiceAccount)
	if err != nil {
		e.fault(subject, "fcm-credential", "It cannot be used: %s.", strings.TrimSuffix(err.Error(), "."))
		return
	}
	if home := homeOf(account.Email); home != "" && home != account.Project {
		e.fault(subject, "fcm-project", "The account is of project %s, and its file names project %s.", home, account.Project)
	} else {
		e.ok(subject, "The file is whole, for project %s.", account.Project)
	}
	if e.o.Local {
		return
	}
	asked, err := fcm.Probe(ctx, fcm.Config{
		Name: "doctor", ServiceAccount: p.FCM.ServiceAccount, BaseURL: p.FCM.BaseURL, RootCAs: roots, Clock: e.o.Now,
		AttemptTimeout: askTime,
	})
	if err != nil {
		e.fault(subject, "fcm-credential", "No client can be made of it: %s.", strings.TrimSuffix(err.Error(), "."))
		return
	}
	subject = p.Name + ": access token"
	if asked.Token.Verdict != bell.Accepted {
		e.googleRefuses(subject, asked.Token)
		return
	}
	e.ok(subject, "Google gives an access token.")
	e.googleAnswer(p.Name+": message", asked)
}

// homeOf is the project in the name of a service account: name@project.iam.gserviceaccount.com,
// of a project of a domain name@project.domain.iam.gserviceaccount.com. "" for other names.
func homeOf(email string) string {
	_, host, _ := strings.Cut(email, "@")
	home, found := strings.CutSuffix(host, ".iam.gserviceaccount.com")
	if !found {
		return ""
	}
	if project, domain, of := strings.Cut(home, "."); of {
		return domain + ":" + project
	}
	return home
}

// googleFaults are what outcomes mean for a service account (docs/push-providers.md 2.2, 2.3).
var googleFaults = map[string]string{
	"oauth_invalid_grant": "fcm-grant", "oauth_refused": "fcm-refused", "tls": "fcm-tls",
	"UNAUTHENTICATED": "fcm-refused", "PERMISSION_DENIED": "fcm-permission", "NOT_FOUND": "fcm-unknown",
}

func (e *exam) googleAnswer(subject string, asked fcm.Probed) {
	o := asked.Message
	if fcm.Answered(o) {
		e.ok(subject, "FCM takes messages of project %s.", asked.Project)
		return
	}
	e.fault(subject, googleFault(o), "Project %s: %s", asked.Project, said(o))
}

// googleRefuses tells why there is no access token.
func (e *exam) googleRefuses(subject string, o bell.Outcome) {
	if _, known := googleFaults[o.Reason]; !known && o.Status != 0 {
		e.fault(subject, googleFault(o), "Google's token server answers %d, and gives no access token.", o.Status)
		return
	}
	e.fault(subject, googleFault(o), "%s", o.Detail)
}

// googleFault is what an outcome other than success means.
func googleFault(o bell.Outcome) string {
	switch name := googleFaults[o.Reason]; {
	case name != "":
		return name
	case o.Status == 0:
		return "fcm-unreachable"
	case o.Status >= 500, o.Status == 429:
		return "fcm-unwell"
	}
	return "fcm-strange"
}
