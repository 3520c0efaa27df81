package bell_test

import (
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
)

func TestProjectTells(t *testing.T) {
	plain, voip := &bell.Project{}, &bell.Project{VoIPInvitations: true}
	for _, c := range []struct {
		project *bell.Project
		purpose bell.Purpose
		channel bell.Channel
		want    bool
	}{
		{plain, bell.PurposeCall, bell.APNsVoIP, true},
		{plain, bell.PurposeInvitation, bell.APNsVoIP, false},
		{voip, bell.PurposeInvitation, bell.APNsVoIP, true},
		{voip, bell.PurposeMissedCall, bell.APNsVoIP, false},
		{plain, bell.PurposeMissedCall, bell.APNsAlert, true},
		{plain, bell.PurposeInvitation, bell.FCM, true},
	} {
		if got := c.project.Tells(c.purpose, c.channel); got != c.want {
			t.Errorf("invitations by VoIP %v, %q by %s: %v", c.project.VoIPInvitations, c.purpose, c.channel, got)
		}
	}
}
