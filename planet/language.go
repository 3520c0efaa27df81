package planet

import "fmt"

// Language is a language in which release reasons are explained to people.
type Language string

// The values of [Language]. Any other one is taken for English.
const (
	English  Language = "en"
	Japanese Language = "ja"
)

// Languages are all languages, in the order in which they are offered.
func Languages() []Language { return []Language{English, Japanese} }

// ParseLanguage reads "en" or "ja", as they are written in ISO 639-1.
func ParseLanguage(text string) (Language, error) {
	for _, l := range Languages() {
		if text == string(l) {
			return l, nil
		}
	}
	return "", fmt.Errorf("the language is not one that release reasons are explained in; want %s or %s", English, Japanese)
}
