package console

import (
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// releaseView names what LINE Planet's numbers mean, the most telling first.
func releaseView(r *planet.Release) Release {
	view := Release{UserCode: r.UserCode, EndedBy: bell.EndedBy(r), Reasons: []ReleaseReason{}}
	for _, reason := range bell.ReleaseReasons(r) {
		view.Reasons = append(view.Reasons, ReleaseReason(reason))
	}
	return view
}
