package pages

import "github.com/planetbell/planetbell/planet"

// problems are the sentences of the sign-in page, which its package has in English, in Japanese.
var problems = map[string]string{
	"The name or the password is wrong.":                                        "名前またはパスワードが違います。",
	"The API token is wrong.":                                                   "APIトークンが違います。",
	"Too many attempts to sign in; wait a minute.":                              "サインインの試行が多すぎます。1分ほど待ってください。",
	"Too many people sign in at once; try again.":                               "同時にサインインする人が多すぎます。もう一度お試しください。",
	"This sign-in did not begin in this browser, or took too long; begin anew.": "このサインインは、このブラウザーで始められていないか、時間がかかりすぎました。最初からやり直してください。",
	"The identity provider did not sign you in.":                                "IDプロバイダーでサインインできませんでした。",
	"What the identity provider sent is not valid; begin anew.":                 "IDプロバイダーからの応答が正しくありません。最初からやり直してください。",
	"Your account may not use this server; ask whoever runs it.":                "このアカウントではこのサーバーを利用できません。管理者に問い合わせてください。",
	"Your account has no role on this server; ask whoever runs it.":             "このアカウントにはこのサーバーでの役割がありません。管理者に問い合わせてください。",
}

// Problem is why somebody could not sign in. A sentence that is not known is shown as it is.
func (w Words) Problem(sentence string) string {
	if ja, ok := problems[sentence]; ok && w.Language == planet.Japanese {
		return ja
	}
	return sentence
}
