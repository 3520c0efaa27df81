package console

import "github.com/planetbell/planetbell/planet"

// explanationView explains in both languages why a call ended.
func explanationView(r *planet.Release) *Explanation {
	why := r.Explain(planet.OneToOneCalls)
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
