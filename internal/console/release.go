package console

import (
	"cmp"
	"strings"

	"github.com/planetbell/planetbell/planet"
)

// releaseView names what LINE Planet's numbers mean, the most telling family first: its
// own current numbers, its old ones, the ones for debugging, and the one for statistics.
func releaseView(r *planet.Release) Release {
	view := Release{UserCode: r.UserCode, EndedBy: endedBy(r), Reasons: []ReleaseReason{}}
	for _, family := range []struct {
		name    string
		code    *int
		explain func(int) planet.ReasonInfo
		as      string // the name that came with the number
	}{
		{"disconnect_reason", r.DisconnectReason, planet.DisconnectReason, ""},
		{"call_end_reason", r.CallEndReason, planet.CallEndReason, ""},
		{"rel_code", r.Code, planet.ReleaseCode, r.CodeName},
		{"terminate", r.Terminate, planet.TerminateReason, ""},
	} {
		if family.code == nil {
			continue
		}
		info := family.explain(*family.code)
		if !info.Known { // the name that came is better than none
			info.Name = family.as
		}
		view.Reasons = append(view.Reasons, ReleaseReason{Family: family.name, Code: *family.code, Name: info.Name, Meaning: info.Meaning})
	}
	return view
}

// endedBy is who ended the call, in one word: caller, callee, cloud_server, ...
func endedBy(r *planet.Release) string {
	if r.ReleaserType == nil {
		return strings.ToLower(r.Releaser)
	}
	info := planet.ReleaserType(*r.ReleaserType)
	if !info.Known || *r.ReleaserType == 0 {
		return strings.ToLower(cmp.Or(r.Releaser, info.Name))
	}
	return strings.ToLower(info.Name)
}
