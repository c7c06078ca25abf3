package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// suggest says what to do about a key that is unknown where it stands: a similar one is known there, or it belongs elsewhere.
func suggest(name string, known []string) string {
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	if homes := homesOf(name); len(homes) > 0 {
		return "it belongs into " + choice(homes)
	}
	return "known here are " + strings.Join(known, ", ")
}

// nearest returns the word that a typing mistake or two would turn into name, empty if there is none.
func nearest(name string, words []string) string {
	best, least := "", 1+len(name)/4
	for _, w := range words {
		if d := distance(strings.ToLower(name), w); d <= least {
			best, least = w, d-1
		}
	}
	return best
}

// distance counts the characters to insert, delete, replace or swap with their neighbour that make b of a.
func distance(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

// homesOf returns the sections that have a key of this name.
func homesOf(name string) []string {
	var homes []string
	walkKeys(reflect.TypeFor[Config](), "", func(path string, _ reflect.StructField) {
		section, key := "the top level", path
		if i := strings.LastIndexByte(path, '.'); i >= 0 {
			section, key = path[:i], path[i+1:]
		}
		if key == name && !slices.Contains(homes, section) {
			homes = append(homes, section)
		}
	})
	return homes
}

// walkKeys visits every key that a struct type stands for, sections before their keys. An element of a list has the path list[].
func walkKeys(t reflect.Type, path string, visit func(path string, field reflect.StructField)) {
	for field := range fieldsOf(t) {
		at, inner := join(path, field.Tag.Get("yaml")), field.Type
		visit(at, field)
		if inner.Kind() == reflect.Slice && !isCustom(inner) {
			at, inner = at+"[]", inner.Elem()
		}
		if isSection(inner) {
			walkKeys(inner, at, visit)
		}
	}
}
