/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "os/options.h"

static struct options o;
static char fault[160];

static void reset(void)
{
	o = bslab_options;
	strcpy(fault, "untouched");
}

TestSuite(options, .init = reset);

static void expect_good(const char *text)
{
	cr_assert(options_parse(&o, text, fault, sizeof fault), "%s: %s", text, fault);
	cr_assert_str_eq(fault, "untouched");
}

static void expect_fault(const char *text, const char *message)
{
	reset();
	cr_assert_not(options_parse(&o, text, fault, sizeof fault), "%s is accepted", text);
	cr_assert_str_eq(fault, message);
}

Test(options, empty_text_changes_nothing)
{
	expect_good("");
	expect_good(",,");
	cr_assert_eq(memcmp(&o, &bslab_options, sizeof o), 0);
}

Test(options, reads_each_key)
{
	expect_good("index=cpu_id,on_error=warn,check=yes,guard=no,merge=no,grouping=no,stats=yes,region=4M,dirty=12K,reserve=2M,large=1G,"
		    "soft_limit=3G,hard_limit=4G");
	cr_assert_eq(o.soft_limit, 3 * GIB);
	cr_assert_eq(o.hard_limit, 4 * GIB);
	cr_assert_eq(o.index, INDEX_CPU_ID);
	cr_assert(o.warn);
	cr_assert(o.check);
	cr_assert_not(o.guard);
	cr_assert_not(o.merge);
	cr_assert_not(o.grouping);
	cr_assert(o.stats);
	cr_assert_eq(o.region_size, 4 * MIB);
	cr_assert_eq(o.dirty_size, 12 * KIB);
	cr_assert_eq(o.reserve_size, 2 * MIB);
	cr_assert_eq(o.large_size, GIB);
}

Test(options, numa)
{
	expect_good("numa=fake:16");
	cr_assert_eq(o.numa_nodes, 16);
	expect_good("numa=off");
	cr_assert_eq(o.numa_nodes, 1);
	expect_good("numa=auto");
	cr_assert_eq(o.numa_nodes, 0);
	expect_fault("numa=fake:17", "BSLAB_CONF: bad value 'fake:17' for 'numa'");
	expect_fault("numa=fake:0", "BSLAB_CONF: bad value 'fake:0' for 'numa'");
	expect_fault("numa=fake:", "BSLAB_CONF: bad value 'fake:' for 'numa'");
	expect_fault("numa=2", "BSLAB_CONF: bad value '2' for 'numa'");
	expect_fault("numa=false:2", "BSLAB_CONF: bad value 'false:2' for 'numa'");
}

Test(options, hardened)
{
	expect_good("hardened=yes,quarantine=0,guarded=100");
	cr_assert(o.hardened);
	cr_assert_eq(o.quarantine_size, 0);
	cr_assert_eq(o.guarded_interval, 100);
	expect_good("guarded=on");
	cr_assert_eq(o.guarded_interval, GUARDED_INTERVAL);
	expect_good("guarded=on,guarded=off");
	cr_assert_eq(o.guarded_interval, 0);
	expect_fault("guarded=0", "BSLAB_CONF: bad value '0' for 'guarded'");
	expect_fault("hardened=2", "BSLAB_CONF: bad value '2' for 'hardened'");
}

Test(options, profile)
{
	expect_good("profile=on,profile_to=/tmp/p.%p,profile_unwind=frames");
	cr_assert_eq(o.profile_interval, PROFILE_INTERVAL);
	cr_assert_eq(o.profile_to.len, strlen("/tmp/p.%p"));
	cr_assert(o.profile_frames);
	expect_good("profile=64K");
	cr_assert_eq(o.profile_interval, 64 * KIB);
	expect_good("profile=1G,profile=off,profile_unwind=auto");
	cr_assert_eq(o.profile_interval, 0);
	cr_assert_not(o.profile_frames);
	expect_fault("profile=0", "BSLAB_CONF: bad value '0' for 'profile'");
	expect_fault("profile=onn", "BSLAB_CONF: bad value 'onn' for 'profile'");
	expect_fault("profile_unwind=", "BSLAB_CONF: bad value '' for 'profile_unwind'");
}

Test(options, the_last_of_a_key_wins)
{
	expect_good("check=yes,check=no,index=thread,index=mm_cid");
	cr_assert_not(o.check);
	cr_assert_eq(o.index, INDEX_MM_CID);
}

Test(options, every_index_mode_has_a_name_that_reads_back)
{
	for (int mode = INDEX_AUTO; mode <= INDEX_THREAD; mode++) {
		char text[64] = "index=";

		expect_good(strcat(text, index_mode_name((enum index_mode)mode)));
		cr_assert_eq(o.index, (enum index_mode)mode);
	}
}

Test(options, sizes_have_units_and_bounds)
{
	expect_good("dirty=0");
	cr_assert_eq(o.dirty_size, 0);
	expect_good("dirty=18446744073709551615");
	cr_assert_eq(o.dirty_size, SIZE_MAX);
	expect_good("dirty=16777215T");
	cr_assert_eq(o.dirty_size, (size_t)16777215 << 40);
	expect_fault("dirty=18446744073709551616", "BSLAB_CONF: bad value '18446744073709551616' for 'dirty'");
	expect_fault("dirty=16777216T", "BSLAB_CONF: bad value '16777216T' for 'dirty'");
	expect_fault("dirty=", "BSLAB_CONF: bad value '' for 'dirty'");
	expect_fault("dirty", "BSLAB_CONF: bad value '' for 'dirty'");
	expect_fault("dirty=-1", "BSLAB_CONF: bad value '-1' for 'dirty'");
	expect_fault("dirty=1k", "BSLAB_CONF: bad value '1k' for 'dirty'");
	expect_fault("dirty=1MB", "BSLAB_CONF: bad value '1MB' for 'dirty'");
	expect_fault("dirty=M", "BSLAB_CONF: bad value 'M' for 'dirty'");
	expect_fault("region=3M", "BSLAB_CONF: bad value '3M' for 'region'");
	expect_fault("region=1M", "BSLAB_CONF: bad value '1M' for 'region'");
	expect_fault("region=2G", "BSLAB_CONF: bad value '2G' for 'region'");
	expect_fault("large=1M", "BSLAB_CONF: bad value '1M' for 'large'");
	expect_fault("reserve=2G", "BSLAB_CONF: bad value '2G' for 'reserve'");
}

Test(options, names_what_it_does_not_know)
{
	expect_fault("colour=red", "BSLAB_CONF: unknown option 'colour'");
	expect_fault("=red", "BSLAB_CONF: unknown option ''");
	expect_fault("Check=yes", "BSLAB_CONF: unknown option 'Check'");
	expect_fault("check=YES", "BSLAB_CONF: bad value 'YES' for 'check'");
	expect_fault("index=numa", "BSLAB_CONF: bad value 'numa' for 'index'");
	expect_fault("on_error=ignore", "BSLAB_CONF: bad value 'ignore' for 'on_error'");
	expect_fault("check=yes=no", "BSLAB_CONF: bad value 'yes=no' for 'check'");
}

Test(options, first_fault_is_named_and_good_pairs_count)
{
	expect_fault("guard=no,one=1,two=2,check=yes", "BSLAB_CONF: unknown option 'one'");
	cr_assert_not(o.guard);
	cr_assert(o.check);
}

Test(options, a_bad_value_leaves_the_old_one)
{
	expect_fault("region=5,dirty=x,index=x", "BSLAB_CONF: bad value '5' for 'region'");
	cr_assert_eq(memcmp(&o, &bslab_options, sizeof o), 0);
	cr_assert_not(options_parse(&o, "profile_to=/tmp/r,profile_to=", fault, sizeof fault));
	cr_assert_eq(o.profile_to.len, strlen("/tmp/r"));
}

Test(options, long_names_are_cut)
{
	char text[400];

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	cr_assert_not(options_parse(&o, text, fault, sizeof fault));
	cr_assert_str_eq(fault, "BSLAB_CONF: unknown option 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'");
}

Test(options, reports)
{
	expect_good("report=slabinfo+meminfo:json,report_to=/tmp/r.%p,report_signal=USR2");
	cr_assert_eq(o.report.len, strlen("slabinfo+meminfo:json"));
	cr_assert_eq(strncmp(o.report.text, "slabinfo+meminfo:json,", 22), 0);
	cr_assert_eq(strncmp(o.report_to.text, "/tmp/r.%p,", o.report_to.len + 1), 0);
	cr_assert_eq(o.report_signal, SIGUSR2);
	expect_good("report_signal=SIGHUP");
	cr_assert_eq(o.report_signal, SIGHUP);
	expect_good("report_signal=64");
	cr_assert_eq(o.report_signal, 64);
	expect_fault("report_signal=0", "BSLAB_CONF: bad value '0' for 'report_signal'");
	expect_fault("report_signal=65", "BSLAB_CONF: bad value '65' for 'report_signal'");
	expect_fault("report_signal=SIG", "BSLAB_CONF: bad value 'SIG' for 'report_signal'");
	expect_fault("report_signal=usr1", "BSLAB_CONF: bad value 'usr1' for 'report_signal'");
	expect_fault("report_to=", "BSLAB_CONF: bad value '' for 'report_to'");
}

Test(options, huge)
{
	expect_good("huge=no");
	cr_assert_not(o.huge);
	expect_good("huge=yes");
	cr_assert(o.huge);
	expect_fault("huge=2", "BSLAB_CONF: bad value '2' for 'huge'");
}
