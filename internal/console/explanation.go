package console

import "github.com/planetbell/planetbell/planet"

// Explanation is why a call ended, for people.
type Explanation struct {
	Family  planet.Family `json:"family,omitempty"` // whose number decided; absent when none came
	EndedBy planet.Party  `json:"ended_by"`         // caller, callee, cloud_server, ... or unknown
	What    Sentences     `json:"what"`
	Who     Sentences     `json:"who"`
	Advice  *Sentences    `json:"advice,omitempty"` // absent where there is nothing to be done
}

// Sentences are one text in both languages.
type Sentences struct {
	English  string `json:"en"`
	Japanese string `json:"ja"`
}

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
