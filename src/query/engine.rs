//! Query engines: this process, or a cluster that reads the same files.

use datafusion::execution::context::SessionContext;

#[cfg(feature = "ballista")]
use super::distributed::Cluster;
use super::run::{context_of, tables};
use crate::error::{Error, Result};
use crate::lake::{At, Lake, Table};

/// Where queries run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// In this process.
    #[default]
    Local,
    /// On a Ballista cluster.
    #[cfg(feature = "ballista")]
    Ballista(Cluster),
}

impl Engine {
    /// Parses the value of `--engine`: `local` or `ballista://host:port`.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) if it is neither, or if this program was built without Ballista.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "local" => Ok(Self::Local),
            _ if text.starts_with("ballista://") => Self::ballista(text),
            _ => Err(Error::settings(format!("there is no engine called {text:?}"))
                .with_hint("give local or ballista://host:port")),
        }
    }

    #[cfg(feature = "ballista")]
    fn ballista(text: &str) -> Result<Self> {
        Cluster::parse(text).map(Self::Ballista)
    }

    #[cfg(not(feature = "ballista"))]
    fn ballista(text: &str) -> Result<Self> {
        Err(Error::settings(format!("--engine {text}: this program was built without Ballista"))
            .with_hint("build it with: cargo build --release --features ballista"))
    }

    /// Returns a context with the tables of the lake, whose queries run on this engine. The tables are in their current
    /// state, or in that of `at`, an earlier version or time.
    ///
    /// # Errors
    /// The errors of [`context_at`](super::context_at), and [`Unreachable`](crate::ErrorKind::Unreachable) if the
    /// cluster does not respond.
    pub async fn context(&self, lake: &Lake, at: Option<At>) -> Result<SessionContext> {
        let lake = lake.for_run().await?;
        self.context_of(&lake, &tables(&lake, at, None).await?).await
    }

    /// Returns a context with `tables`, whose queries run on this engine.
    pub(super) async fn context_of(&self, lake: &Lake, tables: &[Table]) -> Result<SessionContext> {
        match self {
            Self::Local => context_of(lake, tables).await,
            #[cfg(feature = "ballista")]
            Self::Ballista(cluster) => cluster.context(lake, tables).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Engine;
    use crate::error::ErrorKind;

    #[test]
    fn unknown_engines_are_refused() {
        assert_eq!(Engine::parse("local").expect("an engine"), Engine::Local);
        assert_eq!(Engine::parse("spark://host").expect_err("no engine").kind(), ErrorKind::Settings);
    }

    #[cfg(not(feature = "ballista"))]
    #[test]
    fn a_build_without_ballista_says_how_to_build_one_with_it() {
        let error = Engine::parse("ballista://host:50050").expect_err("no such engine here");
        assert_eq!(error.kind(), ErrorKind::Settings);
        assert!(error.hint().is_some_and(|hint| hint.contains("--features ballista")), "{error:?}");
    }
}
