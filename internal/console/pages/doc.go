// Package pages draws the operator's console: templates, style, scripts and the words of both
// languages, and the view models that turn what the services know into what a page shows. It
// asks nobody anything and decides nothing about calls or devices; package console's handlers
// bring it what to show, and hold who may see it.
//
// Pages are whole without JavaScript. With it, htmx swaps in what the server drew anew, and
// uPlot draws the charts. Nothing is inline, so that the content security policy [Policy] can
// forbid everything that is not one of this package's files.
//
// Start with render.go. story.go and waterfall.go make the page of a call, which all the rest
// leads to. words.go and the catalogue files hold every text.
package pages
