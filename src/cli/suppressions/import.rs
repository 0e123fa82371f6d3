//! `bounced suppressions import`: files of other programs onto the list, and what became of each.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use indicatif::{ProgressBar, ProgressStyle};

use super::NewStore;
use crate::{
    app::{BadRows, Contents, ImportStage, ImportedFile, Importer, List},
    cli::{
        Exit, Failure, Globals,
        actor::actor,
        block_on,
        exit::complain,
        input,
        terminal::{count, grouped, long_task, printable},
    },
    clock::now,
    config::Config,
    import::{self, Form},
    store::{By, Imported},
};

/// Take over the list of another program, or of another bounced.
///
/// Known are the files of the programs that `--from` names, among them those of `bounced suppressions export`, and one
/// address a line. Who wrote a file is told by its fields; what nobody is known to write is refused. Each file is taken as
/// a whole or not at all. Nothing that is on the list already leaves it or says less afterwards, and nobody on the allow
/// list is put there.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bounced suppressions import --dry-run mailgun-bounces.csv
  bounced suppressions import --note 'moved from SES' ses.json
  bounced suppressions import --from text --skip-bad gone.txt.gz
  bounced suppressions export --format json | bounced suppressions import -")]
pub(super) struct Import {
    /// CSV, JSON or text, also packed by gzip; `-` for standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Who wrote the files, instead of what their fields say.
    #[arg(long, value_name = "PROGRAM", value_parser = forms())]
    from: Option<Form>,
    /// Take a file without the rows that can't be understood, and tell these.
    #[arg(long)]
    skip_bad: bool,
    /// Why, for whoever asks later, where a file does not say it [default: which file it was].
    #[arg(long)]
    note: Option<String>,
    /// Change nothing, and say what would become of it.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    store: NewStore,
}

fn forms() -> impl TypedValueParser<Value = Form> {
    PossibleValuesParser::new(Form::ALL.iter().map(|form| form.as_str())).try_map(|word| word.parse::<Form>())
}

impl Import {
    pub(super) fn execute(self, globals: &Globals) -> Result<Exit, Failure> {
        let mut config = globals.config()?;
        config.suppressions.accept_new_store = self.store.accept;
        let now = now();
        let importer = Importer::new(globals.judge()?, config.suppressions.never.clone(), now);
        let mut out = io::stdout().lock();
        block_on(self.run(&config, &Arc::new(importer), now, &mut out))
    }

    async fn run(
        &self,
        config: &Config,
        importer: &Arc<Importer>,
        now: i64,
        out: &mut impl Write,
    ) -> Result<Exit, Failure> {
        let list = if self.dry_run { List::open_to_read(config).await? } else { List::open(config).await? };
        let mut exit = Exit::Yes;
        // A file that is refused keeps no other one from the list.
        for path in &self.files {
            if self.import(&list, path, importer, now, out).await? != Exit::Yes {
                exit = Exit::Input;
            }
        }
        list.close().await;
        Ok(exit)
    }

    async fn import(
        &self,
        list: &List,
        path: &Path,
        importer: &Arc<Importer>,
        now: i64,
        out: &mut impl Write,
    ) -> Result<Exit, Failure> {
        let name = printable(&path.display().to_string());
        let progress = long_task(input::octets(path));
        let opened = match input::watched(path, &progress) {
            Ok(source) => import::Import::open(source, self.from).map_err(|error| error.to_string()),
            Err(error) => Err(format!("can't read it: {error}")),
        };
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                progress.finish_and_clear();
                complain(&format!("{name}: {}; nothing of it was imported", printable(&error)));
                return Ok(Exit::Input);
            }
        };
        let form = file.form;
        let bad_rows = if self.skip_bad { BadRows::Skip } else { BadRows::Refuse };
        let which = format!("from {name}");
        let actor = actor();
        let by = By { note: Some(self.note.as_deref().unwrap_or(&which)), ..By::new(&actor, now) };
        let stage = |stage| show(&progress, stage);
        let done = if self.dry_run {
            list.compare(file, Arc::clone(importer), bad_rows, &stage).await
        } else {
            list.import(file, Arc::clone(importer), bad_rows, &by, &stage).await
        };
        progress.finish_and_clear();
        let ImportedFile { contents, imported } = done?;
        for (line, what) in &contents.bad {
            complain(&format!("{name}, line {line}: {}", printable(what)));
        }
        match imported {
            Some(imported) => {
                writeln!(out, "{name}: {}", self.told(form, &contents, imported))?;
                if contents.bad_rows > 0 {
                    complain(&format!("{name}: {} left out", count(contents.bad_rows, "bad row")));
                }
                Ok(Exit::Yes)
            }
            None => {
                let why = match &contents.broken {
                    Some(broken) => printable(&broken.to_string()),
                    None => format!("{}; --skip-bad takes the others", count(contents.bad_rows, "bad row")),
                };
                complain(&format!("{name}: nothing of it was imported: {why}"));
                Ok(Exit::Input)
            }
        }
    }

    /// What became of a file, or would.
    fn told(&self, form: Form, contents: &Contents, imported: Imported) -> String {
        let (is, are) = if self.dry_run { ("would be", "would be") } else { ("is", "are") };
        let be = |number: u64| if number == 1 { is } else { are };
        let Imported { new, replaced, kept, allowed, forgotten } = imported;
        let mut parts = vec![format!("{} {} new to the list", count(new, "address"), be(new))];
        let mut add = |number: u64, what: &str| {
            if number > 0 {
                parts.push(format!("{} {what}", grouped(number)));
            }
        };
        add(replaced, "on it with less to say, and replaced");
        add(kept, "on it already");
        add(contents.entries - new - replaced - kept - allowed - forgotten, "named more than once");
        add(allowed, "left out: on the allow list");
        add(forgotten, "left out: forgotten");
        add(contents.never, "left out: never to be suppressed, says the configuration");
        for (left, number) in &contents.left {
            add(*number, &format!("left out: {}", left.told()));
        }
        add(contents.undated, "of a date that can't be read: since now");
        format!("{form}: {}", parts.join("; "))
    }
}

/// What is going on, and since when: reading is the longest part, and the only one that knows how far it is.
fn show(bar: &ProgressBar, stage: ImportStage) {
    let (template, message) = match stage {
        ImportStage::Reading => ("1/3 {bar:30} {bytes} of {total_bytes} read, {elapsed}", String::new()),
        ImportStage::Writing(entries) => {
            ("2/3 {spinner} {msg}, {elapsed}", format!("writing {} entries", grouped(entries)))
        }
        ImportStage::Publishing => ("3/3 {spinner} {msg}, {elapsed}", "writing the published lists".to_owned()),
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
    bar.set_message(message);
}
