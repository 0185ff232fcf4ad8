/*-------------------------------------------------------------------------
 * javascript.c
 *	  Whether a text that should be SQL is JavaScript.
 *
 * Documents that were written for another system hold JavaScript where flow
 * takes SQL.  Much of it does not even parse, and some of it parses and means
 * something else, so it is recognised by what SQL does not have, outside of
 * quotes and comments.  The signs are chosen so that no SQL that works is
 * refused: "=>" is fine in f(a => 1), x.y where x can be a table.
 *
 * Pure: looks at the text and at nothing else.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "define/javascript.h"

/* No operator of the server, nor part of one */
static const char *const operators[] = {"===", "!==", "==", "`", "{", "//"};

/* Words that begin a statement */
static const char *const statements[] = {
	"return", "const", "let", "var", "async", "await", "throw"
};

/* Objects that every program has */
static const char *const objects[] = {
	"Array", "JSON", "Math", "Object", "console"
};

/* Methods that are given a function; f(x => x) may be SQL */
static const char *const methods[] = {
	"every", "filter", "find", "flatMap", "forEach", "map", "reduce", "some",
	"sort"
};

/* A word of an outline, and what is around it */
typedef struct Word
{
	const char *begin;
	int			length;
	char		before;			/* not a space; 0 at the beginning */
	const char *after;			/* at what is not a space */
} Word;

static void blank(char *outline, int from, int to);
static int	end_of_quoted(const char *text, int at);
static int	end_of_comment(const char *text, int at);
static int	end_of_dollar_quoted(const char *text, int at);
static bool next_word(const char *outline, Word *word);
static bool is_one_of(const Word *word, const char *const *words, int n);
static bool is_word(const Word *word, const char *text);
static const char *sign_in_word(const Word *word);
static const char *sign_in_arrow(const char *outline);
static const char *sign_in_ternary(const char *outline);
static const char *sign_in_member(const char *text, const char *outline,
								  const List *values);
static const char *after_subscripts(const char *at);
static const char *before_word(const char *outline, const char *at);
static bool is_in_word(char c);

#define IS_ONE_OF(word, words)	is_one_of(word, words, lengthof(words))

const char *
FlowJavaScriptSign(const char *text, const List *values)
{
	const char *outline = FlowSqlOutline(text);
	const char *sign;
	Word		word = {outline, 0};

	for (int i = 0; i < lengthof(operators); i++)
		if (strstr(outline, operators[i]))
			return operators[i];
	while (next_word(outline, &word))
	{
		sign = sign_in_word(&word);
		if (sign)
			return sign;
	}
	sign = sign_in_arrow(outline);
	if (sign == NULL)
		sign = sign_in_ternary(outline);
	if (sign == NULL)
		sign = sign_in_member(text, outline, values);
	return sign;
}

char *
FlowSqlOutline(const char *text)
{
	char	   *outline = pstrdup(text);
	int			i = 0;

	while (text[i] != '\0')
	{
		int			end = i;

		if (text[i] == '\'' || text[i] == '"')
		{
			/* the quotes stay, so that there is something between words */
			end = end_of_quoted(text, i);
			blank(outline, i + 1, end - 1);
		}
		else if (strncmp(text +i, "--", 2) == 0 || strncmp(text +i, "/*", 2) == 0)
		{
			end = end_of_comment(text, i);
			blank(outline, i, end);
		}
		else if (text[i] == '$' && (i == 0 || !is_in_word(text[i - 1])))
		{
			end = end_of_dollar_quoted(text, i);
			blank(outline, i + 1, end - 1);
		}
		i = Max(end, i + 1);
	}
	return outline;
}

static void
blank(char *outline, int from, int to)
{
	for (int i = from; i < to; i++)
		outline[i] = ' ';
}

/* A doubled quote is the end of one text and the beginning of another. */
static int
end_of_quoted(const char *text, int at)
{
	bool		escapes = at > 0 && text[at] == '\'' &&
	(text[at - 1] == 'E' || text[at - 1] == 'e');

	for (int i = at + 1; text[i] != '\0'; i++)
	{
		if (escapes && text[i] == '\\' && text[i + 1] != '\0')
			i++;
		else if (text[i] == text[at])
			return i + 1;
	}
	return strlen(text);
}

static int
end_of_comment(const char *text, int at)
{
	const char *end = text[at] == '-' ? strchr(text +at, '\n') :
	strstr(text +at + 2, "*/");

	if (end == NULL)
		return strlen(text);
	return end - text +(text[at] == '-' ? 1 : 2);
}

/* "at" itself if no dollar quote begins there. */
static int
end_of_dollar_quoted(const char *text, int at)
{
	int			length = 1;
	char	   *tag;
	const char *end;

	while (is_in_word(text[at + length]) && text[at + length] != '$')
		length++;
	if (text[at + length] != '$' || isdigit((unsigned char) text[at + 1]))
		return at;
	tag = pnstrdup(text +at, length + 1);
	end = strstr(text +at + length + 1, tag);
	return end ? end - text +length + 1 : strlen(text);
}

bool
FlowSqlIsQuery(const char *text)
{
	static const char *const first[] = {"select", "with", "values", "table"};
	const char *outline = FlowSqlOutline(text);
	Word		word = {outline, 0};

	if (!next_word(outline, &word) || word.before != 0)
		return false;
	for (int i = 0; i < lengthof(first); i++)
		if (word.length == strlen(first[i]) &&
			pg_strncasecmp(word.begin, first[i], word.length) == 0)
			return true;
	return false;
}

/* The word after this one; at first, "word" is empty and at the beginning. */
static bool
next_word(const char *outline, Word *word)
{
	const char *at = word->begin + word->length;
	const char *space;

	while (*at != '\0' && !is_in_word(*at))
		at++;
	if (*at == '\0')
		return false;
	space = before_word(outline, at);
	word->before = space ? *space : 0;
	word->begin = at;
	while (is_in_word(*at))
		at++;
	word->length = at - word->begin;
	word->after = at + strspn(at, " \t\r\n");
	return true;
}

/* The last character before "at" that is no space, or NULL. */
static const char *
before_word(const char *outline, const char *at)
{
	while (at > outline)
		if (!isspace((unsigned char) *--at))
			return at;
	return NULL;
}

static bool
is_word(const Word *word, const char *text)
{
	return word->length == strlen(text) &&
		strncmp(word->begin, text, word->length) == 0;
}

static bool
is_one_of(const Word *word, const char *const *words, int n)
{
	for (int i = 0; i < n; i++)
		if (is_word(word, words[i]))
			return true;
	return false;
}

/*
 * A word that begins a statement, or an expression.  After a parenthesis it may
 * be the name of a column in SQL.
 */
static const char *
sign_in_word(const Word *word)
{
	bool		is_first = word->before == 0;
	bool		is_followed = is_in_word(*word->after);
	bool		has_space = word->after > word->begin + word->length;
	const char *sign = pnstrdup(word->begin, word->length);

	if (IS_ONE_OF(word, statements))
	{
		bool		begins = is_first || strchr(";}", word->before) ||
		(word->before == ')' && is_word(word, "return"));

		if (begins && *word->after != '\0' &&
			(is_followed || strchr("([{'\"`!-", *word->after)))
			return sign;
	}
	if ((is_word(word, "function") || is_word(word, "typeof")) &&
		(is_first || strchr("(=,:;{}>?!&|+", word->before)) &&
		(is_followed || *word->after == '('))
		return sign;
	if (is_word(word, "new") && has_space && isupper((unsigned char) word->after[0]) &&
		islower((unsigned char) word->after[1]))
		return sign;
	if (IS_ONE_OF(word, objects) && word->before != '.' && *word->after == '.')
		return psprintf("%s.", sign);
	return NULL;
}

/*
 * In SQL, => stands between the name and the value of an argument.  What is
 * given to a method of a value is a function.
 */
static const char *
sign_in_arrow(const char *outline)
{
	int			depth = 0;
	Word		word = {outline, 0};

	for (const char *at = outline; *at != '\0'; at++)
	{
		const char *before;

		depth += *at == '(' ? 1 : *at == ')' ? -1 : 0;
		if (at[0] != '=' || at[1] != '>')
			continue;
		before = before_word(outline, at);
		if (depth <= 0 || before == NULL || *before == ')')
			return "=>";
	}
	if (strstr(outline, "=>") == NULL)
		return NULL;
	while (next_word(outline, &word))
		if (IS_ONE_OF(&word, methods) && word.before == '.' && *word.after == '(')
			return psprintf(".%.*s(", word.length, word.begin);
	return NULL;
}

/* In SQL, ":" alone is only in subscripts. */
static const char *
sign_in_ternary(const char *outline)
{
	const char *question = strchr(outline, '?');
	int			depth = 0;

	for (const char *at = question; at && *at != '\0'; at++)
	{
		depth += *at == '[' ? 1 : *at == ']' ? -1 : 0;
		if (at[0] == ':' && depth == 0)
		{
			if (at[1] != ':' && at[1] != '=')
				return "? :";
			at++;
		}
	}
	return NULL;
}

/* Not after a cast, where x may be a schema; not if it is called. */
static const char *
sign_in_member(const char *text, const char *outline, const List *values)
{
	Word		word = {outline, 0};
	ListCell   *cell;

	while (next_word(outline, &word))
		if (word.length == 4 && pg_strncasecmp(word.begin, "from", 4) == 0)
			return NULL;
	word.begin = outline;
	word.length = 0;
	while (next_word(outline, &word))
	{
		const char *end = after_subscripts(word.after);

		if (*end != '.' || strchr(".:", word.before ? word.before : ' '))
			continue;
		for (end++; is_in_word(*end);)
			end++;
		if (*end == '(')
			continue;
		foreach(cell, values)
			if (is_word(&word, lfirst(cell)))
			return pnstrdup(text +(word.begin - outline), end - word.begin);
	}
	return NULL;
}

static const char *
after_subscripts(const char *at)
{
	while (*at == '[' && strchr(at, ']') != NULL)
		at = strchr(at, ']') + 1;
	return at;
}

static bool
is_in_word(char c)
{
	return isalnum((unsigned char) c) || c == '_' || c == '$' || IS_HIGHBIT_SET(c);
}
