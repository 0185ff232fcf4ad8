/*-------------------------------------------------------------------------
 * cronspec.c
 *	  When a schedule of five fields fires next.
 *
 * For show only: pg_cron decides when a job runs and says so beforehand to
 * nobody.  This reads the same text by the same rules, those of Vixie cron:
 * day of month and day of week are alternatives unless one of them begins
 * with a star.  Pure: reads no table and no clock.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "pgtime.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "report/cronspec.h"

/* Leap days are at most eight years apart */
#define DAYS_AHEAD	(8 * 366)

enum
{
	FIELD_MINUTE, FIELD_HOUR, FIELD_DAY, FIELD_MONTH, FIELD_WEEKDAY, N_FIELDS
};

typedef struct CronSpec
{
	uint64		bits[N_FIELDS]; /* bit n: the value n fires */
	bool		star[N_FIELDS]; /* the field begins with a star */
} CronSpec;

static const struct
{
	int			min;
	int			max;
	const char *names;			/* three letters each, from min on */
}			fields[N_FIELDS] = {
	[FIELD_MINUTE] = {0, 59, ""},
	[FIELD_HOUR] = {0, 23, ""},
	[FIELD_DAY] = {1, 31, ""},
	[FIELD_MONTH] = {1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
	[FIELD_WEEKDAY] = {0, 7, "sunmontuewedthufrisat"},
};

static const struct
{
	const char *name;
	const char *means;
}			shorthands[] = {
	{"@hourly", "0 * * * *"},
	{"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@weekly", "0 0 * * 0"},
	{"@monthly", "0 0 1 * *"},
	{"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
};

static bool parse(const char *text, CronSpec *spec);
static bool parse_element(const char **at, int field, uint64 *bits);
static bool parse_value(const char **at, int field, int *value);
static bool day_matches(const CronSpec *spec, const struct pg_tm *date, int day);
static TimestampTz first_of_day(const CronSpec *spec, struct pg_tm *date,
								pg_tz *zone, TimestampTz after);

TimestampTz
FlowCronspecComputeNext(const char *cron, pg_tz *zone, TimestampTz after)
{
	CronSpec	spec;
	struct pg_tm now;
	fsec_t		fraction;
	int			offset;
	int			today;

	if (!parse(cron, &spec) ||
		timestamp2tm(after, &offset, &now, &fraction, NULL, zone) != 0)
		return DT_NOEND;
	today = date2j(now.tm_year, now.tm_mon, now.tm_mday);
	for (int day = today; day <= today + DAYS_AHEAD; day++)
	{
		struct pg_tm date = {0};
		TimestampTz next;

		j2date(day, &date.tm_year, &date.tm_mon, &date.tm_mday);
		if (!day_matches(&spec, &date, day))
			continue;
		next = first_of_day(&spec, &date, zone, after);
		if (!TIMESTAMP_IS_NOEND(next))
			return next;
	}
	return DT_NOEND;
}

static bool
parse(const char *text, CronSpec *spec)
{
	const char *at = text;

	for (int i = 0; i < lengthof(shorthands); i++)
		if (pg_strcasecmp(text, shorthands[i].name) == 0)
			at = shorthands[i].means;
	for (int field = 0; field < N_FIELDS; field++)
	{
		while (isspace((unsigned char) *at))
			at++;
		spec->star[field] = *at == '*';
		spec->bits[field] = 0;
		do
		{
			if (!parse_element(&at, field, &spec->bits[field]))
				return false;
		} while (*at++ == ',');
		at--;
		if (*at != '\0' && !isspace((unsigned char) *at))
			return false;
	}
	if (spec->bits[FIELD_WEEKDAY] & (UINT64CONST(1) << 7))	/* also a Sunday */
		spec->bits[FIELD_WEEKDAY] |= 1;
	while (isspace((unsigned char) *at))
		at++;
	return *at == '\0';
}

/* A star, a value or a range, each with a step or without */
static bool
parse_element(const char **at, int field, uint64 *bits)
{
	int			from = fields[field].min;
	int			to = fields[field].max;
	int			step = 1;

	if (**at == '*')
		(*at)++;
	else
	{
		if (!parse_value(at, field, &from))
			return false;
		to = from;
		if (**at == '-')
		{
			(*at)++;
			if (!parse_value(at, field, &to))
				return false;
		}
	}
	if (**at == '/')
	{
		(*at)++;
		if (!isdigit((unsigned char) **at))
			return false;
		step = strtol(*at, (char **) at, 10);
		if (step < 1 || step > fields[field].max)
			return false;
	}
	for (int value = from; value <= to; value += step)
		*bits |= UINT64CONST(1) << value;
	return from <= to;
}

/* A number, or a name where the field has names */
static bool
parse_value(const char **at, int field, int *value)
{
	const char *names = fields[field].names;

	if (isdigit((unsigned char) **at))
	{
		long		number = strtol(*at, (char **) at, 10);

		*value = (int) number;
		return number >= fields[field].min && number <= fields[field].max;
	}
	for (int i = 0; names[i] != '\0'; i += 3)
		if (pg_strncasecmp(*at, names + i, 3) == 0)
		{
			*at += 3;
			*value = fields[field].min + i / 3;
			return true;
		}
	return false;
}

static bool
day_matches(const CronSpec *spec, const struct pg_tm *date, int day)
{
	bool		by_date = spec->bits[FIELD_DAY] >> date->tm_mday & 1;
	bool		by_weekday = spec->bits[FIELD_WEEKDAY] >> j2day(day) & 1;

	if (!(spec->bits[FIELD_MONTH] >> date->tm_mon & 1))
		return false;
	if (spec->star[FIELD_DAY] || spec->star[FIELD_WEEKDAY])
		return by_date && by_weekday;
	return by_date || by_weekday;
}

/* The first moment of that day that is past "after", or DT_NOEND */
static TimestampTz
first_of_day(const CronSpec *spec, struct pg_tm *date, pg_tz *zone,
			 TimestampTz after)
{
	for (date->tm_hour = 0; date->tm_hour < HOURS_PER_DAY; date->tm_hour++)
	{
		if (!(spec->bits[FIELD_HOUR] >> date->tm_hour & 1))
			continue;
		for (date->tm_min = 0; date->tm_min < MINS_PER_HOUR; date->tm_min++)
		{
			TimestampTz moment;
			int			offset;

			if (!(spec->bits[FIELD_MINUTE] >> date->tm_min & 1))
				continue;
			offset = DetermineTimeZoneOffset(date, zone);
			if (tm2timestamp(date, 0, &offset, &moment) == 0 && moment > after)
				return moment;
		}
	}
	return DT_NOEND;
}
