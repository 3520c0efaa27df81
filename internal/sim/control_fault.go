package sim

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// faultBody is the body of POST /faults. What the fields mean stands at [Fault] and
// [Answer].
type faultBody struct {
	Target     string            `json:"target"`
	Kind       FaultKind         `json:"kind"`
	Count      int               `json:"count"`
	Share      float64           `json:"share"`
	For        duration          `json:"for"`
	Scope      FaultScope        `json:"scope"`
	Delay      duration          `json:"delay"`
	Deliver    bool              `json:"deliver"`
	Status     int               `json:"status"`
	Reason     string            `json:"reason"`
	RetryAfter string            `json:"retry_after"`
	RetryDate  duration          `json:"retry_date"`
	ExpiresIn  duration          `json:"expires_in"`
	Streams    int               `json:"streams"`
	HTML       bool              `json:"html"`
	Hang       bool              `json:"hang"`
	Close      bool              `json:"close"`
	GoAway     bool              `json:"goaway"`
	Header     map[string]string `json:"header"`
}

// fault reads the body.
func (b *faultBody) fault() (Fault, error) {
	f := Fault{
		Kind: b.Kind, Count: b.Count, Share: b.Share, For: time.Duration(b.For), Scope: b.Scope,
		Delay: time.Duration(b.Delay), Deliver: b.Deliver, Status: b.Status, Reason: b.Reason,
		RetryAfter: b.RetryAfter, RetryDate: time.Duration(b.RetryDate),
		ExpiresIn: time.Duration(b.ExpiresIn), Streams: b.Streams,
	}
	if b.Kind == "" {
		f.Kind = FaultAnswer
	}
	if f.Kind != FaultAnswer {
		if b.HTML || b.Hang || b.Close || b.GoAway || b.Header != nil {
			return f, fmt.Errorf(`"html", "hang", "close", "goaway" and "header" are of the kind "answer", not of %q`, b.Kind)
		}
		return f, nil
	}
	a := Answer{Hang: b.Hang, Close: b.Close, GoAway: b.GoAway, Header: http.Header{}}
	if b.HTML {
		if b.Status == 0 {
			return f, errors.New(`"html" needs a "status", such as 502`)
		}
		page := HTMLAnswer(b.Status)
		a.Status, a.Body, a.ContentType = page.Status, page.Body, page.ContentType
	}
	for name, value := range b.Header {
		a.Header.Set(name, value)
	}
	f.Answer = a
	return f, nil
}

func (w *World) postFault(rw http.ResponseWriter, r *http.Request) {
	var b faultBody
	if !readBody(rw, r, &b) {
		return
	}
	fault, err := b.fault()
	if err != nil {
		refuse(rw, http.StatusBadRequest, err)
		return
	}
	faults, err := w.Faults(b.Target)
	if err == nil {
		err = fault.check(faults.provider)
	}
	if err == nil && b.Kind == "" { // in the place of an earlier answer
		w.clearScript(b.Target)
		faults.Clear(FaultAnswer)
	}
	if err == nil {
		err = faults.Add(fault)
	}
	if err != nil {
		refuse(rw, http.StatusBadRequest, err)
		return
	}
	writeJSON(rw, http.StatusOK, map[string]string{"status": b.Target + " misbehaves"})
}

// targetFaults is a target in GET /faults.
type targetFaults struct {
	Active []FaultState         `json:"active"`
	Struck map[FaultKind]uint64 `json:"struck"`
}

func (w *World) getFaults(rw http.ResponseWriter, _ *http.Request) {
	all := map[string]targetFaults{}
	for _, target := range FaultTargets() {
		if faults, err := w.Faults(target); err == nil {
			all[target] = targetFaults{faults.Active(), faults.Struck()}
		}
	}
	writeJSON(rw, http.StatusOK, all)
}

// deleteFaults ends all faults, or those of ?target= and ?kind=.
func (w *World) deleteFaults(rw http.ResponseWriter, r *http.Request) {
	target, kind := r.FormValue("target"), FaultKind(r.FormValue("kind"))
	if target == "" && kind == "" {
		w.ClearFaults()
		writeJSON(rw, http.StatusOK, map[string]string{"status": "no faults"})
		return
	}
	if _, ok := specOf(kind); kind != "" && !ok {
		refuse(rw, http.StatusBadRequest, fmt.Errorf("%q is no kind of fault", kind))
		return
	}
	targets := []string{target}
	if target == "" {
		targets = FaultTargets()
	}
	for _, t := range targets {
		faults, err := w.Faults(t)
		if err != nil {
			refuse(rw, http.StatusBadRequest, err)
			return
		}
		if kind == "" {
			w.clearScript(t)
			faults.Clear()
			continue
		}
		faults.Clear(kind)
	}
	writeJSON(rw, http.StatusOK, map[string]string{"status": "repaired"})
}
