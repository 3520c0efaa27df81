package clients

import "slices"

// sessionKey is where planetbell writes a call's session ID. LINE's apps do not read it;
// an app that acknowledges calls does (docs/clients/own-clients.md).
const sessionKey = "app_session_id"

// DataSession returns the session ID in the data of an FCM message, "" when there is none.
func DataSession(data map[string]string) string { return data[sessionKey] }

// PushSession returns the session ID in an APNs payload, "" when there is none.
func PushSession(payload []byte) string {
	o, err := parseObject(payload)
	if err != nil {
		return ""
	}
	return o.session()
}

// PollSession returns the session ID in the answer to a poll, "" when there is none.
func PollSession(a Answer) string {
	env, err := parseObject(a.Body)
	if err != nil {
		return ""
	}
	data, err := env.sub("data")
	if err != nil {
		return ""
	}
	return data.session()
}

func (o object) session() string {
	s, _ := o.optStr(sessionKey) // "" if it is of another type
	return s
}

// Texts returns all fields of a JSON object but those named, which must be texts.
func Texts(text []byte, but ...string) (map[string]string, error) {
	o, err := parseObject(text)
	if err != nil {
		return nil, err
	}
	return o.texts(but...)
}

// PollTexts returns the data of an answer to a poll, all texts.
func PollTexts(a Answer) (map[string]string, error) {
	env, err := parseObject(a.Body)
	if err != nil {
		return nil, err
	}
	data, err := env.sub("data")
	if err != nil {
		return nil, err
	}
	return data.texts()
}

func (o object) texts(but ...string) (map[string]string, error) {
	fields := map[string]string{}
	for key := range o {
		if slices.Contains(but, key) {
			continue
		}
		value, err := o.str(key)
		if err != nil {
			return nil, err
		}
		fields[key] = value
	}
	return fields, nil
}
