//! kaniko's executor: is its image here, and does it start?

use super::finding::Finding;
use crate::config::EngineKind;
use crate::engine::Engine;
use crate::model::Step;
use crate::process::Runner;

const ABOUT: &str = "kaniko";

/// The executor in this image. It is not pulled: that is for the first build to do, and needs the network.
pub(super) async fn examine(kind: EngineKind, image: &str, runner: &Runner) -> Finding {
    let engine = Engine::new(kind);
    let here = engine.inspect_image(runner, Step::Build, image).await;
    if !matches!(here, Ok(Some(_))) {
        let program = engine.program();
        return match here {
            Err(failure) => Finding::bad(
                ABOUT,
                failure.message,
                format!("try `{program} image inspect {image}` as the daemon's user"),
            ),
            Ok(_) => Finding::warn(
                ABOUT,
                format!("the executor's image {image} is not here yet: the first build pulls it"),
                format!("{program} pull {image}"),
            ),
        };
    }
    match engine.kaniko_version(runner, image).await {
        Ok(version) => Finding::ok(ABOUT, format!("{version}, in {image}")),
        Err(failure) => Finding::bad(
            ABOUT,
            failure.message,
            "set `image` in [kaniko] to an image of the executor",
        ),
    }
}
