"""The scheduler's default limit is lifted, a given one stays."""

from snakemake.settings.types import MaxJobsPerTimespan, SchedulingSettings

from anatcl.plan.scheduling import lift_default_rate, ready


def test_the_limit_that_nobody_asked_for_is_lifted():
    settings = SchedulingSettings(max_jobs_per_timespan=MaxJobsPerTimespan.parse_choice("100/1s"))
    lift_default_rate(settings)
    assert settings.max_jobs_per_timespan is None


def test_a_limit_that_a_user_gave_stays():
    settings = SchedulingSettings(max_jobs_per_timespan=MaxJobsPerTimespan.parse_choice("50/1m"))
    lift_default_rate(settings)
    assert settings.max_jobs_per_timespan.max_jobs == 50


def test_settings_without_a_limit_and_no_settings_are_fine():
    settings = SchedulingSettings()
    lift_default_rate(settings)
    lift_default_rate(None)
    assert settings.max_jobs_per_timespan is None


def test_a_marked_function_tells_snakemake_its_parameters():
    from snakemake.common import get_function_params, get_input_function_aux_params

    @ready
    def resource(wildcards, attempt):
        return attempt

    assert list(get_function_params(resource)) == ["wildcards", "attempt"]
    assert get_input_function_aux_params(resource, {"attempt": 2, "input": []}) == {"attempt": 2}


def test_a_marked_method_is_called_as_before():
    from snakemake.common import get_input_function_aux_params

    class Thing:
        def evaluate(self, *args, **kwargs):
            return args, kwargs

    ready(Thing.evaluate)
    given = {"attempt": 2}
    assert get_input_function_aux_params(Thing().evaluate, given) == given
    assert Thing().evaluate(1, **given) == ((1,), given)
