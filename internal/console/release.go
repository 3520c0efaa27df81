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

// explanationView explains in both languages why a call ended.
func explanationView(r *planet.Release) *Explanation {
	why := r.Explain()
	view := &Explanation{Family: why.Family, EndedBy: why.EndedBy, What: sentences(why.What), Who: sentences(why.Who)}
	if why.Advice(planet.English) != "" {
		advice := sentences(why.Advice)
		view.Advice = &advice
	}
	return view
}

func sentences(in func(planet.Language) string) Sentences {
	return Sentences{English: in(planet.English), Japanese: in(planet.Japanese)}
}
