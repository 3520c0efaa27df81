package app

import (
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// A notice goes by what the project of its callee says now; without a project by nothing.
func TestTells(t *testing.T) {
	acme := &bell.Project{Name: "acme", Environment: planet.Evaluation, ServiceID: "svc", VoIPInvitations: true}
	projects, err := bell.NewProjects([]*bell.Project{acme})
	if err != nil {
		t.Fatal(err)
	}
	a := &App{projects: projects}
	n := bell.Call{Purpose: bell.PurposeInvitation, Environment: planet.Evaluation, Callee: planet.UserRef{ServiceID: "svc", UserID: "bob"}}
	if !a.tells(&n, bell.APNsVoIP) {
		t.Error("an invitation is not told by VoIP where the project wants it")
	}
	acme.VoIPInvitations = false
	if a.tells(&n, bell.APNsVoIP) || !a.tells(&n, bell.APNsAlert) {
		t.Error("an invitation does not go by the project's settings")
	}
	if n.Callee.ServiceID = "gone"; a.tells(&n, bell.APNsAlert) {
		t.Error("a notice for a project that is gone")
	}
}
