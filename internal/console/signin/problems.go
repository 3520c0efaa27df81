package signin

// Why somebody is not let in, as Page.Problem says it.
const (
	// wrongPassword does not say which of the two is wrong.
	wrongPassword   = "The name or the password is wrong."
	wrongToken      = "The API token is wrong."
	tooManyAttempts = "Too many attempts to sign in; wait a minute."
	tooManyAtOnce   = "Too many people sign in at once; try again."
	notBegunHere    = "This sign-in did not begin in this browser, or took too long; begin anew."
	notSignedIn     = "The identity provider did not sign you in."
	notValid        = "What the identity provider sent is not valid; begin anew."
	notAllowed      = "Your account may not use this server; ask whoever runs it."
	noRole          = "Your account has no role on this server; ask whoever runs it."
)

// Problems are all that Page.Problem may say, for pages in other languages.
func Problems() []string {
	return []string{wrongPassword, wrongToken, tooManyAttempts, tooManyAtOnce, notBegunHere, notSignedIn, notValid, notAllowed, noRole}
}
